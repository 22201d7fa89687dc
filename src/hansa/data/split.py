"""One split of a federation's data: a mapping of client to data set that loads on access and complains by name.

This file must not know which other splits there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hansa.core.ids import SOME, LazyIds
from hansa.core.population import ClientId, LazySizes
from hansa.data.dataset import ClientDataset
from hansa.data.recent import Recent
from hansa.data.stores.store import ClientStore
from hansa.errors import DataError, UnknownName

Load = Callable[[ClientId], ClientDataset]
Size = Callable[[ClientId], int]


class Split(Mapping[ClientId, ClientDataset]):
    """Data sets by client, each made when it is asked for and not kept.

    Args:
        clients: the ids, in order; `LazyIds` are not listed.
        load: gives a client's data set; called once for each access.
        size: how many examples a client holds, where that can be told without loading.
        lazy: sizes are looked for only when they are asked for, one by one; always so where the ids are not listed.

    Attributes:
        ids: the clients.
        lazy: as given.
        told: what `size` was.

    Raises:
        DataError: an id is not a string, or an empty one.
    """

    __slots__ = ("_clients", "_known", "_load", "ids", "lazy", "told")

    def __init__(
        self, clients: Iterable[ClientId], load: Load, *, size: Size | None = None, lazy: bool = False
    ) -> None:
        self._clients: Collection[ClientId] = clients if isinstance(clients, LazyIds) else dict.fromkeys(clients)
        self._load, self.told = load, size
        self.ids: Sequence[ClientId] = clients if isinstance(clients, LazyIds) else tuple(self._clients)
        self.lazy = lazy or isinstance(clients, LazyIds)
        self._known: dict[ClientId, int] = Recent() if self.lazy else {}
        if not isinstance(clients, LazyIds):
            for client in self._clients:
                _check_id(client)

    @classmethod
    def of(cls, data: Mapping[ClientId, ClientDataset]) -> Split:
        """The split of a mapping; of a ClientStore without asking it for more than its ids."""
        if not isinstance(data, ClientStore):
            return cls(data, data.__getitem__)
        return cls(data.ids, data.__getitem__, size=data.size if data.sized else None, lazy=not data.sized)

    def view(self, load: Load, size: Size | None = None) -> Split:
        """The same clients with other data sets: `load` gives them, and `size` tells their sizes where it can."""
        return Split(self.ids, load, size=size, lazy=self.lazy)

    def __getitem__(self, client: ClientId) -> ClientDataset:
        """The data set of `client`.

        Raises:
            UnknownName: this split has no such client.
            DataError: what the mapping holds for it is no ClientDataset.
        """
        if client not in self._clients:
            raise UnknownName.among("client", client, self.ids[:SOME] if self.lazy else self.ids)
        dataset = self._load(client)
        if not isinstance(dataset, ClientDataset):
            raise DataError(
                f"expected a ClientDataset, found {type(dataset).__name__}",
                where=f"client {client!r}",
                hint='wrap its arrays: ClientDataset({"x": ..., "y": ...})',
            )
        if self.lazy:
            self._known[client] = len(dataset)
        return dataset

    # Mapping would find out by trying to load, and by catching a KeyError that never comes.
    def __contains__(self, client: object) -> bool:
        return client in self._clients

    def get(self, client: ClientId, default: Any = None) -> Any:
        """The data set of `client`, or `default` where there is no such client."""
        return self[client] if client in self._clients else default

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def __repr__(self) -> str:
        shown = ", ".join(self.ids[:5])
        return f"Split({len(self)} clients: {shown}{', ...' if len(self) > 5 else ''})"

    @property
    def sizes(self) -> Mapping[ClientId, int]:
        """How many examples each client holds; `LazySizes` where this split is lazy, otherwise all are looked for now."""
        if self.lazy:
            return LazySizes(self._clients, self.size)
        if len(self._known) < len(self):
            self._known = {client: self._counted(client) for client in self._clients}
        return self._known

    @property
    def known(self) -> Mapping[ClientId, int]:
        """The sizes that were found out before."""
        return self._known

    def size(self, client: ClientId) -> int:
        """How many examples `client` holds, which is in this split; of the last clients that is remembered."""
        found = self._known.get(client)
        if found is None:
            found = self._known[client] = self._counted(client)
        return found

    def _counted(self, client: ClientId) -> int:
        return len(self[client]) if self.told is None else self.told(client)


def _check_id(client: object) -> None:
    if not isinstance(client, str) or not client:
        raise DataError(
            f"a client's id must be a string that is not empty, found {client!r} ({type(client).__name__})",
            hint='use str(id), such as "0"',
        )
