"""Clients' data sets in one SQLite file: ids and sizes are read without the examples, and nobody lists ten million clients.

The file has a table of clients, and one for each split with a row a client: its columns as the bytes of a safetensors file,
and beside them how many examples they hold. It is only ever read once it is written; any process may read it by its path.

This file must not know what the columns mean.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hansa.core.ids import LazyIds
from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.data.documents import schema_from_json
from hansa.data.schema import Schema
from hansa.data.stores import columns
from hansa.data.stores.store import ClientStore, dataset_at
from hansa.errors import DataError

FORMAT = 1
"""Of the tables; kept in the file's `user_version`."""

APPLICATION = 0x48616E73
"""In the file's `application_id`: it is one of ours."""

LISTED = 100_000
"""So many clients' ids are read at once; more are looked up one by one."""

_PAGE = 1_000


class SqliteFile:
    """An open file, read-only. A copy in another process, pickled or forked, opens it for itself.

    Args:
        path: the file.

    Raises:
        DataError: it does not exist, or is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(
                "there is no such file", where=str(path), hint="write it with FederatedData.to_sqlite(path)"
            )
        self._open()
        try:
            ours = self.ask("PRAGMA application_id")[0][0] == APPLICATION
            version = self.ask("PRAGMA user_version")[0][0]
        except DataError:
            ours, version = False, 0
        if not ours:
            raise DataError(
                "this is no file of clients' data sets",
                where=str(path),
                hint="give the file that FederatedData.to_sqlite(path) wrote",
            )
        if version != FORMAT:
            raise DataError(
                f"the file has format {version}; this version of Hansa reads {FORMAT}",
                where=str(path),
                hint="update Hansa, or write it again with FederatedData.to_sqlite(path)",
            )

    def _open(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()
        try:
            self._database = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem

    def _unreadable(self, problem: sqlite3.Error) -> DataError:
        return DataError(
            f"the file cannot be read: {problem}",
            where=str(self.path),
            hint="see that it is all there; else write it again with FederatedData.to_sqlite(path)",
        )

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises DataError where the file is damaged."""
        if self._process != os.getpid():  # a fork's connection and lock are its parent's
            self._parents = self._database  # never closed here
            self._open()
        with self._lock:
            try:
                return self._database.execute(query, values).fetchall()
            except (sqlite3.Error, OverflowError) as problem:
                if isinstance(problem, OverflowError):  # a number that no row can have
                    return []
                raise self._unreadable(problem) from problem

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path = path
        self._open()


class SqliteIds(LazyIds):
    """The clients of a table: of "clients" all of them, of a split those who hold any of it.

    Args:
        file: the open file.
        table: "clients", "train" or "test".
    """

    __slots__ = ("_all", "_at", "_count", "_place", "file", "table")

    def __init__(self, file: SqliteFile, table: str) -> None:
        self.file, self.table = file, table
        count = "SELECT coalesce(max(number) + 1, 0) FROM"
        self._count: int = file.ask(f"{count} {table}")[0][0]
        self._all = self._count == file.ask(f"{count} clients")[0][0]
        if table == "clients":
            self._at = "SELECT id FROM clients WHERE number = ?"
            self._place = "SELECT number FROM clients WHERE id = ?"
        else:
            self._at = f"SELECT id FROM clients WHERE number = (SELECT client FROM {table} WHERE number = ?)"  # noqa: S608
            self._place = f"SELECT number FROM {table} WHERE client = (SELECT number FROM clients WHERE id = ?)"  # noqa: S608

    def __len__(self) -> int:
        return self._count

    def at(self, position: int) -> ClientId:
        """The id in the row of that number."""
        rows = self.file.ask(self._at, position)
        if not rows:
            raise DataError(f"the table {self.table!r} has no row {position}", where=str(self.file.path))
        return str(rows[0][0])

    def position(self, id: object) -> int | None:  # noqa: A002 - the port's
        """The number of an id's row."""
        rows = self.file.ask(self._place, id) if isinstance(id, str) else []
        return int(rows[0][0]) if rows else None

    def among(self, others: Collection[ClientId]) -> Sequence[ClientId]:
        """Those in `others`, in their order; where these are all clients of the file, as lazy."""
        if isinstance(others, SqliteIds) and others.file is self.file and (self._all or others.table == self.table):
            return others
        return super().among(others)

    def __iter__(self) -> Iterator[ClientId]:
        joined = (
            "clients" if self.table == "clients" else f"{self.table} AS t JOIN clients ON clients.number = t.client"
        )
        place = "number" if self.table == "clients" else "t.number"
        query = f"SELECT id FROM {joined} WHERE {place} >= ? AND {place} < ? ORDER BY {place}"  # noqa: S608 - ours
        for begin in range(0, len(self), _PAGE):
            for (each,) in self.file.ask(query, begin, begin + _PAGE):
                yield str(each)


class Sqlite(ClientStore):
    """The data sets of one split.

    Args:
        file: the open file.
        split: "train" or "test".
    """

    sized = True

    def __init__(self, file: SqliteFile, split: str) -> None:
        self._file, self._split = file, split
        lazy = SqliteIds(file, split)
        self._ids: Sequence[ClientId] = lazy if len(lazy) > LISTED else tuple(lazy)
        client = "WHERE client = (SELECT number FROM clients WHERE id = ?)"
        self._load, self._size = (f"SELECT {what} FROM {split} {client}" for what in ("columns, examples", "examples"))  # noqa: S608

    @property
    def ids(self) -> Sequence[ClientId]:
        """Who holds examples of this split."""
        return self._ids

    def __getitem__(self, client: ClientId) -> ClientDataset:
        (data, examples), where = self._row(self._load, client), f"{self._file.path}, client {client!r}"
        dataset = dataset_at(where, columns.decode(data, where=where))
        if len(dataset) != examples:
            raise DataError(
                f"the columns hold {len(dataset)} examples, and {examples} are announced",
                where=where,
                hint="write the file again with FederatedData.to_sqlite(path)",
            )
        return dataset

    def size(self, client: ClientId) -> int:
        """How many examples a client holds, as is written beside them."""
        return int(self._row(self._size, client)[0])

    def _row(self, query: str, client: ClientId) -> tuple[Any, ...]:
        rows = self._file.ask(query, client)
        if not rows:
            raise DataError(f"the client has no row in the table {self._split!r}", where=f"client {client!r}")
        return rows[0]


def schema_in(file: SqliteFile) -> Schema:
    """The schema that was written with the data sets. Raises DataError where it is damaged."""
    rows = file.ask("SELECT fields FROM schema")
    try:
        return schema_from_json(json.loads(rows[0][0]))
    except (LookupError, TypeError, ValueError) as problem:
        raise DataError(f"the schema in it is damaged: {problem}", where=str(file.path)) from problem


def everyone_in(file: SqliteFile, train: Sqlite) -> Sequence[ClientId]:
    """The ids of all clients, those that train first."""
    everyone = SqliteIds(file, "clients")
    if len(everyone) == len(train):
        return train.ids
    return everyone if len(everyone) > LISTED else tuple(everyone)
