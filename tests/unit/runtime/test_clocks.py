"""A machine whose clock is an hour off: its certificates hold, and its owner is told."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hansa.pki import Authority, Identity
from hansa.protocol.peer import Role
from hansa.runtime.envoy.session import warn_of_skew

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("off", [-1, 1])
def test_a_new_certificate_is_good_on_a_machine_that_is_an_hour_off(tmp_path: Path, off: int) -> None:
    authority = Authority.create(tmp_path / "authority", "local", now=NOW)
    request = Identity.request(tmp_path / "alice", "alice")
    certificate = authority.sign(request, "alice", Role.ENVOY, now=NOW)
    Identity.install(tmp_path / "alice", certificate, authority.certificate)
    assert Identity.load(tmp_path / "alice", now=NOW + timedelta(hours=off)).peer.name == "alice"


@pytest.mark.parametrize(
    ("skew", "said"),
    [
        (3600.0, ["this machine's clock is 3600 s behind the Director's: set it right"]),
        (-3600.0, ["this machine's clock is 3600 s ahead of the Director's: set it right"]),
        (10.0, []),
    ],
)
def test_the_owner_is_told_which_way_the_clock_is_off(
    caplog: pytest.LogCaptureFixture, skew: float, said: list[str]
) -> None:
    with caplog.at_level(logging.WARNING, logger="hansa.envoy"):
        warn_of_skew(skew)
    assert caplog.messages == said
