"""Authorities and members with real certificates, at a time that each test passes in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hansa.pki import Authority, Identity
from hansa.protocol.peer import Role

Joins = Callable[..., Identity]


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path, now: datetime) -> Authority:
    return Authority.create(tmp_path / "ca", "north-sea", now=now)


@pytest.fixture
def joins(authority: Authority, tmp_path: Path, now: datetime) -> Joins:
    """Makes a member of a name and role, by hand."""

    def member(name: str, role: Role = Role.ENVOY, *, by: Authority = authority, at: datetime = now) -> Identity:
        folder = tmp_path / f"{by.folder.name}-{name}"
        hosts = ("localhost", "127.0.0.1") if role is Role.DIRECTOR else ()
        certificate = by.sign(Identity.request(folder, name), name, role, now=at, hosts=hosts)
        return Identity.install(folder, certificate, by.certificate)

    return member
