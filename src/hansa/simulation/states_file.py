"""Trees by client in an SQLite file, each as the bytes of a safetensors file.

This file must not know whose private states they are, or when they are set.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from hansa.core import tree
from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.errors import DiskFull, InputError, StoreError
from hansa.protocol import codec

APPLICATION = 0x48617374
"""In the file's `application_id`: it is one of ours."""

_CACHE = 8 * 2**10
"""KiB of the file that SQLite keeps in memory."""

_PAGE = 256


class StatesFile(MutableMapping[ClientId, Tree]):
    """A mapping in a file, in the order in which clients first came.

    Args:
        path: the file; "" is one without a name, which the operating system takes back however this process ends.
        first: what is written into it at once, all or nothing.

    Raises:
        StoreError: it cannot be written, is in use or is another file; DiskFull where there is no room.
        InputError: a leaf that a named file cannot hold; in one without a name, such states stay in memory.
    """

    def __init__(self, path: str, first: Mapping[ClientId, Tree] | None = None) -> None:
        self._path, self._lock = path, threading.RLock()
        self._odd: dict[ClientId, Tree] = {}
        try:
            # A thread of the run's own uses what the user's thread has made; the lock keeps them apart.
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
        except sqlite3.Error as problem:
            raise self._failed(problem) from problem
        self._end = weakref.finalize(self, self._database.close)
        self._prepare()
        self._count = int(self._rows("SELECT count(*) FROM states")[0][0])
        if first:
            self._rows("BEGIN")
            self.update(first)
            self._rows("COMMIT")

    def _prepare(self) -> None:
        """Tables for a new file; a look at one that is there."""
        ours = self._rows("PRAGMA application_id")[0][0] == APPLICATION
        if not ours and self._rows("SELECT count(*) FROM sqlite_master")[0][0]:
            raise StoreError(
                "this is no file of clients' states", where=self._path, hint="name another file, or a new one"
            )
        self._rows(f"PRAGMA cache_size = -{_CACHE}")
        if self._path:
            self._rows("PRAGMA locking_mode = EXCLUSIVE")  # whose run it is keeps it to itself
            self._rows("PRAGMA journal_mode = WAL")
            self._rows("PRAGMA synchronous = NORMAL")
        else:
            self._rows("PRAGMA journal_mode = MEMORY")  # nobody reads it after a crash
            self._rows("PRAGMA synchronous = OFF")
        self._rows("BEGIN IMMEDIATE")
        self._rows(
            "CREATE TABLE IF NOT EXISTS states (number INTEGER PRIMARY KEY, client TEXT NOT NULL UNIQUE, state BLOB)"
        )
        self._rows(f"PRAGMA application_id = {APPLICATION}")
        self._rows("COMMIT")

    # --- the mapping

    def __getitem__(self, client: ClientId) -> Tree:
        with self._lock:
            if client in self._odd:
                return self._odd[client]
            rows = self._rows("SELECT state FROM states WHERE client = ?", client)
        if not rows:
            raise KeyError(client)
        return tree.aligned(codec.decode(rows[0][0]))

    def __setitem__(self, client: ClientId, state: Tree) -> None:
        with self._lock:
            encoded = self._encoded(state)
            if not self._changed("UPDATE states SET state = ? WHERE client = ?", encoded, client):
                self._count += self._changed("INSERT INTO states (client, state) VALUES (?, ?)", client, encoded)
            self._odd.pop(client, None)
            if encoded is None:
                self._odd[client] = {name: state[name].copy() for name in sorted(state)}

    def __delitem__(self, client: ClientId) -> None:
        with self._lock:
            if client not in self:
                raise KeyError(client)
            self._rows("DELETE FROM states WHERE client = ?", client)
            self._odd.pop(client, None)
            self._count -= 1

    def __contains__(self, client: object) -> bool:
        return isinstance(client, str) and bool(self._rows("SELECT 1 FROM states WHERE client = ?", client))

    def __iter__(self) -> Iterator[ClientId]:
        last = -1
        while page := self._rows(
            "SELECT number, client FROM states WHERE number > ? ORDER BY number LIMIT ?", last, _PAGE
        ):
            yield from (client for _, client in page)
            last = page[-1][0]

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._rows("DELETE FROM states")
            self._odd.clear()
            self._count = 0

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._end()

    # --- inside

    def _encoded(self, state: Tree) -> bytes | None:
        """A state as bytes; None where no file of ours holds it and it stays in memory instead."""
        try:
            return codec.encode(state)
        except InputError:
            if self._path:
                raise
            return None

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as problem:
                raise self._failed(problem) from problem

    def _changed(self, query: str, *values: object) -> int:
        """How many rows a query changed."""
        try:
            return self._database.execute(query, values).rowcount
        except sqlite3.Error as problem:
            raise self._failed(problem) from problem

    def _failed(self, problem: sqlite3.Error) -> StoreError:
        where = self._path or "a temporary file"
        if getattr(problem, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return DiskFull(
                f"clients' states cannot be kept: {problem}",
                where=where,
                hint="make room there; SQLITE_TMPDIR names another folder for temporary files",
            )
        return StoreError(
            f"clients' states cannot be kept: {problem}",
            where=where,
            hint="see that the folder is there, and that no other run has the file",
        )
