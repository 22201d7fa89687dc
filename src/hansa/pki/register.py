"""The authority's register: certificates issued and revoked, and invitations, in one SQLite file.

Several processes and threads use it at once (the running Director, an administrator's command), so nothing of it is kept in
memory, and whatever must hold together happens in one transaction. This file must not know keys, nor what a certificate
looks like inside.

SQLite's own file is never opened here, and not even looked at, by any other way than SQLite: closing it would drop the locks
that this process holds on it. That a revocation was added is told by the length of a second file instead, see `stamp`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hansa.errors import Damaged, DiskFull, StoreError
from hansa.pki.certificates import utc
from hansa.pki.files import PRIVATE, store_error, write_new
from hansa.protocol.peer import Role

Stamp = tuple[int, int, int]
"""Compared with an earlier one for equality, and good for nothing else."""

_VERSION = 1
_WAIT = 30.0
"""Seconds to wait for another process's transaction; they take milliseconds."""
_FULL = {sqlite3.SQLITE_FULL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SCHEMA = f"""
CREATE TABLE issued (
    serial TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
    pem BLOB NOT NULL, revoked INTEGER, why TEXT NOT NULL DEFAULT ''
);
CREATE INDEX issued_by_name ON issued (name);
CREATE TABLE invitations (
    token TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, until INTEGER NOT NULL, again INTEGER NOT NULL,
    bootstrap TEXT NOT NULL, withdrawn INTEGER NOT NULL DEFAULT 0, serial TEXT REFERENCES issued, key TEXT
);
CREATE INDEX invitations_by_name ON invitations (name);
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate that was issued.

    Attributes:
        name: whose it is.
        role: what its holder may do.
        serial: in hexadecimal.
        since: when it becomes valid, in UTC.
        until: the last second in which it is valid, in UTC.
        revoked: when it was revoked, in UTC, or None.
        why: the reason that was given for that.
    """

    name: str
    role: Role
    serial: str
    since: datetime
    until: datetime
    revoked: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Invited:
    """What the register holds of an invitation.

    Attributes:
        name: who is invited.
        role: as what.
        until: the last second in which it can be used, in UTC.
        again: whether it renews a certificate.
        withdrawn: whether a later invitation, or a revocation, took it back.
        serial: of the certificate that was given for it, or None.
        key: the id of the public key that this was given to, or None.
    """

    name: str
    role: Role
    until: datetime
    again: bool
    withdrawn: bool
    serial: str | None
    key: str | None


class Transaction:
    """The register, while nobody else can change it. All or nothing of what is written here stays."""

    def __init__(self, db: sqlite3.Connection, revocations: Path) -> None:
        self._db, self._revocations = db, revocations

    def issued(self, name: str | None = None) -> list[Issued]:
        """All certificates, or those of one name, in the order in which they were issued."""
        columns = "SELECT name, role, serial, since, until, revoked, why FROM issued"
        if name is None:
            rows = self._db.execute(f"{columns} ORDER BY rowid")
        else:
            rows = self._db.execute(f"{columns} WHERE name = ? ORDER BY rowid", (name,))
        return [
            Issued(name, Role(role), serial, _moment(since), _moment(until), None if at is None else _moment(at), why)
            for name, role, serial, since, until, at, why in rows
        ]

    def certificate(self, serial: str) -> bytes:
        """The certificate with this serial, as PEM."""
        (pem,) = self._db.execute("SELECT pem FROM issued WHERE serial = ?", (serial,)).fetchone()
        return bytes(pem)

    def add(self, record: Issued, pem: bytes) -> None:
        """Enter a new certificate."""
        self._db.execute(
            "INSERT INTO issued (serial, name, role, since, until, pem) VALUES (?, ?, ?, ?, ?, ?)",
            (record.serial, record.name, record.role.value, _seconds(record.since), _seconds(record.until), pem),
        )

    def invite(self, token: str, name: str, role: Role, *, until: datetime, again: bool, bootstrap: str) -> None:
        """Enter an invitation by the hash of its token; any that this name has not used yet is withdrawn."""
        self._db.execute("UPDATE invitations SET withdrawn = 1 WHERE name = ? AND serial IS NULL", (name,))
        self._db.execute(
            "INSERT INTO invitations (token, name, role, until, again, bootstrap) VALUES (?, ?, ?, ?, ?, ?)",
            (token, name, role.value, _seconds(until), again, bootstrap),
        )

    def invited(self, token: str) -> Invited | None:
        """The invitation with this hash of a token, if there is one."""
        row = self._db.execute(
            "SELECT name, role, until, again, withdrawn, serial, key FROM invitations WHERE token = ?", (token,)
        ).fetchone()
        if row is None:
            return None
        name, role, until, again, withdrawn, serial, key = row
        return Invited(name, Role(role), _moment(until), bool(again), bool(withdrawn), serial, key)

    def use(self, token: str, *, serial: str, key: str) -> None:
        """Remember which certificate was given for the invitation, and to which key."""
        self._db.execute("UPDATE invitations SET serial = ?, key = ? WHERE token = ?", (serial, key, token))

    def revoke(self, records: list[Issued], *, now: datetime, why: str) -> None:
        """Revoke these certificates; invitations to their bearers that are still unused are withdrawn with them."""
        if not records:
            return
        for record in records:
            self._db.execute(
                "UPDATE issued SET revoked = ?, why = ? WHERE serial = ?", (_seconds(now), why, record.serial)
            )
            self._db.execute(
                "UPDATE invitations SET withdrawn = 1 WHERE serial IS NULL AND bootstrap = ?", (record.serial,)
            )
        # Before the commit: were this process killed in between, a commit that nobody was told of would be worse than a
        # look at the register for nothing. Whoever sees the new length waits for this transaction in `revoked`.
        descriptor = os.open(self._revocations, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, b".")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Register:
    """The register in a folder.

    Attributes:
        folder: the authority's.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """SQLite's file."""
        return self.folder / "register.sqlite"

    @property
    def revocations(self) -> Path:
        """The file that grows by a byte for each revocation."""
        return self.folder / "revocations"

    def exists(self) -> bool:
        """Whether there is any file of a register."""
        return self.path.exists() or self.revocations.exists()

    def create(self) -> None:
        """Make an empty register where there is none.

        Raises:
            StoreError: the files cannot be written.
        """
        write_new(self.revocations, b"", PRIVATE)
        write_new(self.path, b"", PRIVATE)  # SQLite gives its journal the mode of this file
        with self._connected() as db:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")

    def check(self) -> None:
        """See that there is a register that this version can read.

        Raises:
            StoreError: there is none, or it is of another version.
            Damaged: it is no register at all.
        """
        with self._connected() as db:
            (found,) = db.execute("PRAGMA user_version").fetchone()
        if found != _VERSION:
            raise StoreError(
                f"this register has version {found}; this Hansa knows version {_VERSION}",
                where=str(self.path),
                hint="use the version of Hansa that wrote it, or restore the folder from a backup",
            )
        self.stamp()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One after the other with all other processes and threads; an exception inside undoes everything.

        Raises:
            StoreError: the register cannot be read or written, or another process keeps it.
            DiskFull: there is no room; it is as it was.
            Damaged: it is no register any more.
        """
        with self._connected() as db:
            db.execute("PRAGMA synchronous = EXTRA")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(db, self.revocations)
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def stamp(self) -> Stamp:
        """What changes when a certificate is revoked by any process; costs one `stat`.

        Take the stamp first, and read `revoked` after it: then none is ever missed.

        Raises:
            StoreError: the folder is gone.
        """
        try:
            found = self.revocations.stat()
        except OSError as error:
            raise store_error(error, self.revocations) from error
        return (found.st_size, found.st_ino, found.st_mtime_ns)

    def revoked(self) -> frozenset[str]:
        """The serials of all certificates that were ever revoked, those included whose revocation is being written now.

        Raises:
            StoreError: the register cannot be read.
        """
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")  # waits for whoever has changed the stamp and not yet committed
            found = frozenset(serial for (serial,) in db.execute("SELECT serial FROM issued WHERE revoked IS NOT NULL"))
            db.execute("ROLLBACK")
            return found

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        # A connection for each use costs a fraction of a millisecond, and is bound to no thread and no fork.
        address = f"{self.path.absolute().as_uri()}?mode=rw"
        try:
            db = sqlite3.connect(address, uri=True, timeout=_WAIT, isolation_level=None)
            try:
                yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            raise self._called(error) from error
        except OSError as error:
            raise store_error(error, self.folder) from error

    def _called(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", None)
        code = code & 0xFF if isinstance(code, int) else None
        if code in _FULL:
            return DiskFull(
                "there is no room left for the register", where=str(self.path), hint="make room, and do the same again"
            )
        if code in _DAMAGED:
            return Damaged(
                "this file is not a register, or it is damaged",
                where=str(self.path),
                hint="restore the authority's folder from a backup",
            )
        hint = "see that this user may read and write the folder, and that no other process keeps the file"
        return StoreError(f"the register cannot be used: {error}", where=str(self.path), hint=hint)


def _seconds(moment: datetime) -> int:
    return int(utc(moment).timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
