"""Splitting one data set over clients: the port, and the partitioners that do not look at labels.

Every partitioner gives each example to one client, gives no client nothing, and depends on nothing but the data set and
the key; the clients' indices are ascending. Where one does otherwise, it says so.

This file must not know what is done with the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from hansa.core.keys import Key
from hansa.core.population import ClientId
from hansa.data.columns import Indices
from hansa.data.dataset import ClientDataset
from hansa.errors import ConfigError, DataError

T = TypeVar("T")
Parts = Mapping[ClientId, Indices]
"""For each client, which examples are its own: int64, ascending."""


class Partitioner(Protocol):
    """A way to split one data set over clients."""

    def assign(self, dataset: ClientDataset, key: Key) -> Parts:
        """Which examples each client gets.

        Args:
            dataset: what is split.
            key: the source of every random choice; the same key gives the same parts.

        Raises:
            DataError: this data set cannot be split like that.
        """
        ...


@dataclass(frozen=True)
class IID:
    """Examples dealt at random, evenly: the clients' sizes differ by one at most.

    Attributes:
        clients: how many; they are called "0", "1", ...
    """

    clients: int

    def __post_init__(self) -> None:
        positive("clients", self.clients)

    def assign(self, dataset: ClientDataset, key: Key) -> Parts:
        """Shuffles the examples and cuts them into equal parts."""
        enough(len(dataset), self.clients, "examples")
        order = key.generator().permutation(len(dataset))
        return parts(numbered(np.array_split(order, self.clients)))


@dataclass(frozen=True)
class BySizes:
    """Random disjoint subsets of given sizes. What the sizes leave over belongs to nobody.

    Attributes:
        sizes: for each client how many examples it gets; a sequence is of clients "0", "1", ...
    """

    sizes: Mapping[ClientId, int] | Sequence[int]

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ConfigError("sizes must name at least one client")
        for client, size in self._named().items():
            positive(f"the size of client {client!r}", size)

    def assign(self, dataset: ClientDataset, key: Key) -> Parts:
        """Shuffles the examples and cuts off each client's in turn."""
        sizes = self._named()
        ends = np.cumsum(list(sizes.values()))
        enough(len(dataset), int(ends[-1]), "examples")
        cut = np.split(key.generator().permutation(len(dataset)), ends)
        return parts(dict(zip(sizes, cut, strict=False)))  # the last piece is what is left over

    def _named(self) -> dict[ClientId, int]:
        return dict(self.sizes) if isinstance(self.sizes, Mapping) else numbered(self.sizes)


@dataclass(frozen=True)
class ByField:
    """A client for each value of a field, such as the writer of a digit: the data's own clients.

    Attributes:
        field: one value an example; the client's id is `str(value)`. The clients are in the values' order.
    """

    field: str

    def assign(self, dataset: ClientDataset, key: Key) -> Parts:  # noqa: ARG002 - nothing here is random
        """Groups the examples by the field's value."""
        enough(len(dataset), 1, "examples")
        groups = rows_by_value(dataset, self.field)
        return parts({str(value): rows for value, rows in groups.items()})


def rows_by_value(dataset: ClientDataset, field: str) -> dict[Any, Indices]:
    """For each value of `field`, in order, the rows that have it, ascending.

    Raises:
        UnknownName: there is no such field.
        DataError: it has more than one value an example.
    """
    column = dataset[field]
    if column.ndim != 1:
        raise DataError(
            f"expected one value an example, found shape {column.shape[1:]}",
            where=f"field {field!r}",
            hint="partition by a field with a single number or name for each example",
        )
    values, group, counts = np.unique(column, return_inverse=True, return_counts=True)
    rows = np.split(np.argsort(group, kind="stable"), np.cumsum(counts)[:-1])
    return dict(zip(values.tolist(), rows, strict=False))  # no values, but one empty piece, where there are no examples


def numbered(items: Sequence[T]) -> dict[ClientId, T]:
    """`items` as clients "0", "1", ..."""
    return {str(number): item for number, item in enumerate(items)}


def parts(assigned: Mapping[ClientId, Indices], *, hint: str = "ask for fewer clients") -> Parts:
    """`assigned` in the form that a partitioner returns.

    Raises:
        DataError: a client got nothing.
    """
    for client, rows in assigned.items():
        if not len(rows):
            raise DataError("this client would get no examples", where=f"client {client!r}", hint=hint)
    return {client: np.sort(rows).astype(np.int64, copy=False) for client, rows in assigned.items()}


def positive(what: str, number: int) -> None:
    """Raises ConfigError where `number` is less than 1."""
    if number < 1:
        raise ConfigError(f"{what} must be at least 1, not {number}")


def enough(found: int, needed: int, what: str) -> None:
    """Raises DataError where `found` is less than `needed`."""
    if found < needed:
        raise DataError(
            f"the partition needs at least {needed} {what}, but the data set has {found}",
            hint="ask for fewer or smaller clients, or give it more data",
        )
