"""Revoking: what it covers, and that a running Director learns of it from another process by one cheap look."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hansa.errors import StoreError
from hansa.pki import Authority, Identity
from hansa.pki.register import Register
from hansa.protocol.peer import Role

Joins = Callable[..., Identity]

REVOKE = """
import sys
from datetime import datetime
from pathlib import Path
from hansa.pki import Authority
print(*Authority.open(Path(sys.argv[1])).revoke(sys.argv[2], now=datetime.fromisoformat(sys.argv[3]), why="by hand"))
"""


def test_a_name_or_one_certificate_is_revoked(authority: Authority, joins: Joins, now: datetime) -> None:
    north, south = joins("north"), joins("south")
    renewed = authority.sign(Identity.request(north.folder, "north"), "north", Role.ENVOY, now=now, again=True)
    second = Identity.install(north.folder, renewed, authority.certificate)
    assert authority.revoked() == frozenset()
    assert authority.revoke(north.peer.serial.upper(), now=now) == (north.peer.serial,)
    assert authority.revoked() == {north.peer.serial}
    assert authority.revoke("north", now=now) == (second.peer.serial,)
    assert authority.revoke("north", now=now, why="again") == ()
    assert authority.revoked() == {north.peer.serial, second.peer.serial}
    assert {each.serial for each in authority.issued() if each.revoked is None} == {south.peer.serial}


def test_what_has_expired_need_not_be_revoked(authority: Authority, joins: Joins, now: datetime) -> None:
    north = joins("north")
    stamp = authority.stamp()
    assert authority.revoke("north", now=north.until + timedelta(seconds=1)) == ()
    assert authority.revoked() == frozenset()
    assert authority.stamp() == stamp


def test_the_stamp_changes_with_each_revocation_and_with_nothing_else(
    authority: Authority, joins: Joins, now: datetime
) -> None:
    stamps = [authority.stamp()]
    for name in ("a", "b", "c"):  # within one tick of the file system's clock
        joins(name)
        authority.invite(f"{name}-too", Role.USER, address="localhost:7443", now=now)
        assert authority.stamp() == stamps[-1]
        authority.revoke(name, now=now)
        stamps.append(authority.stamp())
    assert len(set(stamps)) == 4


def test_another_process_revokes(authority: Authority, joins: Joins, now: datetime) -> None:
    north, south = joins("north"), joins("south")
    before = authority.stamp()
    done = subprocess.run(
        [sys.executable, "-c", REVOKE, str(authority.folder), "north", now.isoformat()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == north.peer.serial
    assert authority.stamp() != before
    assert authority.revoked() == {north.peer.serial}
    assert south.peer.serial not in authority.revoked()


def test_whoever_sees_the_stamp_change_sees_the_revocation(authority: Authority, joins: Joins, now: datetime) -> None:
    north = joins("north")
    before = authority.stamp()
    register = Register(authority.folder)
    with ThreadPoolExecutor(1) as pool:
        with register.transaction() as transaction:
            transaction.revoke(transaction.issued("north"), now=now, why="")
            assert authority.stamp() != before  # told before it is committed
            reading = pool.submit(authority.revoked)
        assert reading.result(timeout=60) == {north.peer.serial}


def test_a_transaction_that_fails_leaves_nothing(authority: Authority, joins: Joins, now: datetime) -> None:
    joins("north")
    register = Register(authority.folder)

    def fails() -> None:
        with register.transaction() as transaction:
            transaction.revoke(transaction.issued("north"), now=now, why="")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert authority.revoked() == frozenset()
    assert authority.revoke("north", now=now)


def test_a_revocation_that_cannot_be_told_is_not_made(authority: Authority, joins: Joins, now: datetime) -> None:
    joins("north")
    (authority.folder / "revocations").unlink()
    with pytest.raises(StoreError, match="a file cannot be used"):
        authority.revoke("north", now=now)
    with pytest.raises(StoreError, match="a file cannot be used"):
        authority.stamp()
    assert authority.revoked() == frozenset()


def test_many_revoke_at_once(authority: Authority, joins: Joins, now: datetime) -> None:
    members = [joins(f"m{number}") for number in range(6)]

    def revoke(member: Identity) -> tuple[str, ...]:
        return Authority.open(authority.folder).revoke(member.peer.name, now=now)

    with ThreadPoolExecutor(6) as pool:
        done = [serial for serials in pool.map(revoke, members) for serial in serials]
    assert authority.revoked() == set(done) == {member.peer.serial for member in members}
    assert Path(authority.folder / "revocations").stat().st_size == 6
