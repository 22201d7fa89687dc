"""The ClientStore port: many clients' data sets where they lie, each read when it is asked for.

This file must not know of any kind of place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy.typing as npt

from hansa.core.ids import LazyIds
from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.errors import DataError


class ClientStore(Mapping[ClientId, ClientDataset]):
    """A mapping of client to data set that need not list its clients, and may know sizes without reading a data set.

    `hansa.FederatedData(store)` makes a federation of it. A store of one's own says `ids` and `__getitem__`, and where it can
    `size`.

    Attributes:
        sized: whether `size` tells without reading the examples.
    """

    sized: ClassVar[bool] = False

    @property
    @abstractmethod
    def ids(self) -> Sequence[ClientId]:
        """Distinct ids: a tuple, or `hansa.core.ids.LazyIds` where there are too many to list."""

    @abstractmethod
    def __getitem__(self, client: ClientId) -> ClientDataset:
        """The data set of a client that is among the ids. Raises DataError, saying where, if it cannot be read."""

    def size(self, client: ClientId) -> int:
        """How many examples a client has."""
        return len(self[client])

    def __contains__(self, client: object) -> bool:
        return client in self.ids

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        lazy = isinstance(self.ids, LazyIds)
        return f"{type(self).__name__}({len(self):,} clients{', not listed' if lazy else ''})"


def dataset_at(where: str, arrays: Mapping[str, npt.ArrayLike]) -> ClientDataset:
    """The data set of arrays that were read from somewhere; what is wrong with them is said to be there."""
    try:
        return ClientDataset(arrays)
    except DataError as error:
        raise DataError(error.what, where=", ".join(filter(None, (where, error.where))), hint=error.hint) from error
