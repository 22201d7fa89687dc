"""An Envoy whose certificate was revoked: it is cut off at once, says why, and ends."""

from __future__ import annotations

import time
from pathlib import Path

from hansa.data.owners import Owner
from hansa.runtime.files import now
from hansa.runtime.local import LocalFederation

OWNED = Path(__file__).parent / "owned"


def test_it_ends_and_its_log_says_why(tmp_path: Path) -> None:
    with LocalFederation(tmp_path / "federation", [Owner("alice", "shards:One", {"client": "0"}, OWNED)]) as federation:
        federation.create()
        federation.up()
        federation.authority.revoke("alice", now=now())
        began = time.monotonic()
        with federation.user() as user:
            while any(envoy["online"] for envoy in user.overview()["envoys"]):
                assert time.monotonic() < began + 10
        assert federation.processes["alice"].wait(30) == 1
    assert "revoked" in (tmp_path / "federation" / "alice.log").read_text()
