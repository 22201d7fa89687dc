"""The journal as an SQLite database: one table, in the order of its rows. What a record means is not known here.

Write-ahead logging with `synchronous=FULL`: a commit returns when its frames are on the disk, and a frame that was torn by a
power cut fails its checksum, so that its transaction never was. One process writes; a lock file keeps others away.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hansa.errors import StoreError
from hansa.store import disk
from hansa.store.lock import ProcessLock
from hansa.store.port import Record

FORMAT = 1
"""Of the tables below; kept in the file's `user_version`."""

_TABLES = """
CREATE TABLE records (number INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX records_by_run ON records (run, number);
"""
_PAGE = 64
_BUSY = 5_000  # milliseconds to wait for another program, such as a backup, that reads the file

_MAYBE_FULL = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_CANTOPEN,
}
"""What SQLite makes of a quota or of a limit on the size of files; it tells only of a disk that is full."""


class SqliteJournal:
    """A journal in one file (and, while it is open, two more of SQLite's beside it).

    Args:
        path: the database; its folder exists.

    Raises:
        DiskFull: there is no room for it.
        StoreError: it is in use, damaged, of a newer Hansa, or something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._owner = ProcessLock(path.with_name(f"{path.name}.lock"), f"the journal {path.name}")
        self._database: sqlite3.Connection | None = None
        try:
            with self._lock, self._explained("open the journal"):
                self._database = sqlite3.connect(
                    path, timeout=_BUSY / 1_000, isolation_level=None, check_same_thread=False
                )
                self._open(self._database)
            disk.sync_folder(path.parent)
        except OSError as problem:
            self.close()
            raise disk.failure(problem, "open the journal", path) from problem
        except BaseException:
            self.close()
            raise

    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        """Append all of them or none; when this returns they survive a power cut."""
        rows = [(each.run, each.kind, each.body) for each in records]
        superseded = [(run, kind) for run in {row[0] for row in rows} for kind in replacing]
        if rows:
            with self._lock, self._explained("write to the journal"), self._transaction() as database:
                database.executemany("DELETE FROM records WHERE run = ? AND kind = ?", superseded)
                database.executemany("INSERT INTO records (run, kind, body) VALUES (?, ?, ?)", rows)

    def records(self, run: str | None = None) -> Iterator[Record]:
        """The records of one run, or of all, in order, as they are now."""
        last: int = self._read("SELECT coalesce(max(number), 0) FROM records")[0][0]
        return self._pages(run, last)

    def forget(self, run: str) -> None:
        """Drop everything of a run; then give the room back."""
        with self._lock, self._explained("write to the journal"):
            with self._transaction() as database:
                database.execute("DELETE FROM records WHERE run = ?", (run,))
            _shrink(database)

    def close(self) -> None:
        """Let go of the journal."""
        with self._lock:
            database, self._database = self._database, None
            try:
                if database is not None:
                    with contextlib.suppress(
                        sqlite3.Error
                    ):  # what was appended is safe in the log, whatever becomes of it
                        _shrink(database)
                    database.close()
            finally:
                self._owner.release()

    def _pages(self, run: str | None, last: int) -> Iterator[Record]:
        """A page at a time, so that nobody who writes has to wait for a slow reader."""
        number = 0
        chosen, values = ("", ()) if run is None else ("run = ? AND", (run,))
        query = f"SELECT run, kind, body, number FROM records WHERE {chosen} number > ? AND number <= ? ORDER BY number LIMIT ?"  # noqa: S608 - the text is ours
        while page := self._read(query, *values, number, last, _PAGE):
            for row in page:
                yield Record(*row)
            number = page[-1][3]

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._explained("read the journal"):
            return self._opened().execute(query, values).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreError("the journal is closed", where=str(self._path), hint="open it again")
        return self._database

    def _open(self, database: sqlite3.Connection) -> None:
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise StoreError(
                f"the journal has format {found}, and this Hansa knows formats up to {FORMAT}",
                where=str(self._path),
                hint="start it with the newer Hansa that wrote it",
            )
        fresh = not found
        if fresh and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(
                "this is a database, but no journal of Hansa's", where=str(self._path), hint="choose another folder"
            )
        if fresh:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "fullfsync = ON",
            f"journal_size_limit = {16 << 20}",
        ):
            database.execute(f"PRAGMA {pragma}").fetchall()
        if fresh:
            with self._transaction():
                for statement in _TABLES.strip().splitlines():
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {FORMAT}")
        said = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise _damaged(said, self._path)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = self._opened()
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:  # SQLite rolls some failures back by itself
                database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what SQLite raises into our own errors."""
        try:
            yield
        except sqlite3.DatabaseError as problem:
            # Only the first byte of a code says what it is about; the rest, where it came up.
            code = getattr(problem, "sqlite_errorcode", None) or 0
            if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise _damaged(str(problem), self._path) from problem
            if code & 0xFF == sqlite3.SQLITE_FULL or (code in _MAYBE_FULL and not self._grows()):
                raise disk.full(f"cannot {doing}: {problem}", self._path) from problem
            raise StoreError(
                f"cannot {doing}: {problem}",
                where=str(self._path),
                hint="see that its folder belongs to this user, that its disk is sound, and that no other program holds it",
            ) from problem

    def _grows(self) -> bool:
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return disk.takes(self._path.parent, max((each.stat().st_size for each in files if each.exists()), default=0))


def _shrink(database: sqlite3.Connection) -> None:
    """Give the room of deleted records back, and empty the log.

    What was deleted is so durably; where there is no room for tidying up, or somebody reads, the next time will do.
    """
    database.execute("PRAGMA busy_timeout = 0")  # nor is a reader waited for
    try:
        with contextlib.suppress(sqlite3.OperationalError):
            database.executescript("PRAGMA incremental_vacuum")  # `execute` would take its first step only: one page
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        database.execute(f"PRAGMA busy_timeout = {_BUSY}")


def _damaged(said: str, path: Path) -> StoreError:
    return StoreError(
        f"the journal is damaged: {said}",
        where=str(path),
        hint="move it and its -wal file away together, restore both from a backup if there is one, and see that the disk is "
        "sound; without a backup the runs in it must be started again",
    )
