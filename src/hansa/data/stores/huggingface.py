"""Clients' data sets as rows of a Hugging Face data set, by the value of one of its columns.

The library is never imported here: whoever has one of its data sets has imported it. Rows are grouped by reading the
owners' column alone; pictures are decoded when their client is asked for.

This file must not know where the library keeps its files.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from hansa.core.population import ClientId
from hansa.data.columns import Indices
from hansa.data.dataset import ClientDataset
from hansa.data.partition import rows_by_value
from hansa.data.stores.store import ClientStore, dataset_at
from hansa.errors import ConfigError, UnknownName


class HuggingFace(ClientStore):
    """The data sets of those who own the rows of one `datasets.Dataset`.

    Args:
        dataset: all rows, as the user loaded them.
        owner: the column that says whose a row is; a client's id is `str(value)`, the clients are in the values' order.
        columns: which columns are read, and under which name; all but the owner's unless given.

    Raises:
        ConfigError: it is no `datasets.Dataset`, or two columns would get one name.
        UnknownName: a column does not exist.
        DataError: the owner's column has no single value a row.
    """

    sized = True

    def __init__(self, dataset: Any, owner: str, columns: Mapping[str, str] | None = None) -> None:
        library = sys.modules.get("datasets")
        if library is None or not isinstance(dataset, library.Dataset):
            raise ConfigError(
                f"expected a datasets.Dataset, found {type(dataset).__name__}",
                hint='load one split: datasets.load_dataset(..., split="train"), not a stream of it',
            )
        known = list(dataset.column_names)
        self._columns = {name: name for name in known if name != owner} if columns is None else dict(columns)
        for name in (owner, *self._columns):
            if name not in known:
                raise UnknownName.among("column", name, known)
        if not self._columns or len(set(self._columns.values())) < len(self._columns):
            raise ConfigError(
                f"each column needs a name of its own, and there must be one: {self._columns}",
                hint='such as columns={"image": "x", "label": "y"}',
            )
        self._rows = _grouped(dataset, owner)
        self._dataset: Any = dataset.select_columns(list(self._columns)).with_format("numpy")

    @property
    def ids(self) -> tuple[ClientId, ...]:
        """The owners, as text."""
        return tuple(self._rows)

    def __contains__(self, client: object) -> bool:
        return client in self._rows

    def __getitem__(self, client: ClientId) -> ClientDataset:
        read = self._dataset[self._rows[client]]
        return dataset_at(f"client {client!r}", {name: read[column] for column, name in self._columns.items()})

    def size(self, client: ClientId) -> int:
        """How many rows a client owns."""
        return len(self._rows[client])


def _grouped(dataset: Any, owner: str) -> dict[ClientId, Indices]:
    """The rows of each owner. Arrow's own values, because the library's own way would decode what it reads."""
    table = dataset.select_columns([owner]).with_format("arrow")[:]
    values = np.asarray(table.column(owner).to_pylist()) if len(table) else np.zeros(0)
    groups = rows_by_value(dataset_at("", {owner: values}), owner) if len(values) else {}
    return {str(value): rows for value, rows in groups.items()}
