"""Writing the file that `hansa.data.stores.sqlite` reads: a client at a time, and whole or not at all.

This file must not know where the data sets come from.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.data.documents import schema_to_json
from hansa.data.schema import Schema
from hansa.data.stores import columns
from hansa.data.stores.sqlite import APPLICATION, FORMAT
from hansa.errors import ConfigError, StoreError

_TABLES = """
CREATE TABLE clients (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE schema (fields TEXT NOT NULL);
"""

_SPLIT = """
CREATE TABLE {} (
    number INTEGER PRIMARY KEY, client INTEGER NOT NULL UNIQUE, examples INTEGER NOT NULL, columns BLOB NOT NULL
);
"""

Held = Callable[[ClientId], Mapping[str, ClientDataset]]
"""The splits that a client holds, none of them empty."""


def write(path: Path, clients: Iterable[ClientId], held: Held, schema: Schema) -> None:
    """Write a new file.

    Args:
        path: the file.
        clients: the ids, those that train first.
        held: their data sets.
        schema: what every example looks like.

    Raises:
        ConfigError: there is a file already, or a data set has a transform.
        DataError: a column that cannot be kept.
        StoreError: the file cannot be written.
    """
    if path.exists():
        raise ConfigError("there is a file already", where=str(path), hint="name another one, or remove it")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")  # what is cut off is thrown away
            database.execute("PRAGMA synchronous = OFF")
            database.executescript(_TABLES + _SPLIT.format("train") + _SPLIT.format("test"))
            database.execute("BEGIN")
            _fill(database, clients, held)
            database.execute("INSERT INTO schema VALUES (?)", (json.dumps(schema_to_json(schema)),))
            database.execute("COMMIT")
            database.execute(f"PRAGMA user_version = {FORMAT}")
            database.execute(f"PRAGMA application_id = {APPLICATION}")
        part.replace(path)
    except (sqlite3.Error, OSError) as problem:
        raise StoreError(
            f"the data sets cannot be written: {problem}",
            where=str(path),
            hint="see that the folder is there and has room",
        ) from problem
    finally:
        part.unlink(missing_ok=True)


def _fill(database: sqlite3.Connection, clients: Iterable[ClientId], held: Held) -> None:
    rows = {"train": 0, "test": 0}
    for number, client in enumerate(clients):
        database.execute("INSERT INTO clients VALUES (?, ?)", (number, client))
        for split, dataset in held(client).items():
            arrays, _, transforms = dataset.stored
            if transforms:
                raise ConfigError(
                    f"a transform cannot be written: {transforms[0]!r}",
                    where=f"client {client!r}",
                    hint="write the data without, and add it to what is read: from_sqlite(path).with_transform(...)",
                )
            data = columns.encode({name: dataset[name] for name in arrays}, where=f"client {client!r}")
            values = (rows[split], number, len(dataset), data)
            database.execute(f"INSERT INTO {split} VALUES (?, ?, ?, ?)", values)  # noqa: S608 - one of our two
            rows[split] += 1
