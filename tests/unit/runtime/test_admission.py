"""Who a Director admits: by its certificate, at every call, and only as long as that is good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hansa.errors import CertificateError
from hansa.pki import Authority, Identity, peer_of
from hansa.protocol.peer import Role
from hansa.runtime.director import serve

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_certificate_that_expires_or_is_revoked_is_news_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.create(tmp_path / "authority", "local", now=NOW)

    def certified(name: str, hours: int) -> bytes:
        request = Identity.request(tmp_path / name, name)
        return authority.sign(request, name, Role.ENVOY, now=NOW, valid=timedelta(hours=hours))

    short, long = certified("alice", 1), certified("bob", 9)
    clock = [NOW]
    monkeypatch.setattr(serve, "now", lambda: clock[0])
    admission = serve._Admission(authority)
    assert [admission(each).name for each in (short, long)] == ["alice", "bob"]
    assert set(admission.news()) == set()

    clock[0] = NOW + timedelta(hours=2)
    assert set(admission.news()) == {peer_of(short).serial}
    assert set(admission.news()) == set()

    authority.revoke("bob", now=clock[0])
    assert set(admission.news()) == {peer_of(long).serial}
    with pytest.raises(CertificateError, match="revoked"):
        admission(long)
