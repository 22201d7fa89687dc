"""Which errors end an Envoy that dials, and after which it dials on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from hansa.errors import (
    CertificateError,
    FederationError,
    HansaError,
    InputError,
    NotAllowed,
    NotConnected,
    ProtocolError,
)
from hansa.runtime.config import EnvoyConfig
from hansa.runtime.envoy.dialling import Dialler
from hansa.runtime.envoy.session import Sessions


class Scripted:
    """Sessions that end, one after the other, with these errors."""

    def __init__(self, *ends: HansaError) -> None:
        self.ends = list(ends)

    async def hold(self, _connection: object, welcomed: Callable[[], None]) -> None:
        welcomed()
        raise self.ends.pop(0)


def dialled(*ends: HansaError) -> Scripted:
    """Dial until one of these errors ends it."""
    config = cast("EnvoyConfig", SimpleNamespace(director="ws://127.0.0.1:1", name="alice"))
    sessions = Scripted(*ends)
    dialler = Dialler(config, None, cast("Sessions", sessions), lambda _address: None)
    with pytest.raises(type(ends[-1]), match=ends[-1].what):
        asyncio.run(asyncio.wait_for(dialler.dial(), 20))
    return sessions


@pytest.mark.parametrize("final", [NotAllowed, CertificateError, ProtocolError])
def test_what_stays_wrong_ends_it_and_what_may_be_right_again_does_not(final: type[HansaError]) -> None:
    passing = [
        NotConnected("the connection broke"),
        FederationError("internal error"),
        InputError("a file is not here"),
    ]
    assert dialled(*passing, final("never")).ends == []
