"""An Envoy whose process hangs: its connection stands, because gRPC answers for it, and yet it is not shown online."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from hansa.data.owners import Owner
from hansa.runtime.local import LocalFederation
from hansa.runtime.user import User

OWNED = Path(__file__).parent / "owned"


def comes_to(user: User, online: bool) -> None:
    """Wait until the only Envoy is online, or is not."""
    until = time.monotonic() + 30
    while any(envoy["online"] for envoy in user.overview()["envoys"]) != online:
        assert time.monotonic() < until


def test_it_is_shown_as_gone_and_comes_back_when_it_goes_on(tmp_path: Path) -> None:
    owners = [Owner("alice", "shards:One", {"client": "0"}, OWNED)]
    with LocalFederation(
        tmp_path / "federation", owners, change_director=lambda text: text.replace('beat = "20 s"', 'beat = "1 s"')
    ) as federation:
        federation.create()
        assert 'beat = "1 s"' in (tmp_path / "federation" / "director" / "director.toml").read_text()
        federation.up()
        alice = federation.processes["alice"]
        with federation.user() as user:
            alice.send_signal(signal.SIGSTOP)
            try:
                comes_to(user, online=False)
            finally:
                alice.send_signal(signal.SIGCONT)
            comes_to(user, online=True)
