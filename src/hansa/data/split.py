"""One split of a federation's data: a mapping of client to data set that loads on access and complains by name.

This file must not know which other splits there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.errors import DataError, UnknownName


class Split(Mapping[ClientId, ClientDataset]):
    """Data sets by client, each made when it is asked for and not kept.

    Args:
        clients: the ids, in order.
        load: gives a client's data set; called once for each access.

    Raises:
        DataError: an id is not a string, or an empty one.
    """

    __slots__ = ("_clients", "_load")

    def __init__(self, clients: Iterable[ClientId], load: Callable[[ClientId], ClientDataset]) -> None:
        self._clients = dict.fromkeys(clients)
        self._load = load
        for client in self._clients:
            _check_id(client)

    def __getitem__(self, client: ClientId) -> ClientDataset:
        """The data set of `client`.

        Raises:
            UnknownName: this split has no such client.
            DataError: what the mapping holds for it is no ClientDataset.
        """
        if client not in self._clients:
            raise UnknownName.among("client", client, self._clients)
        dataset = self._load(client)
        if not isinstance(dataset, ClientDataset):
            raise DataError(
                f"expected a ClientDataset, found {type(dataset).__name__}",
                where=f"client {client!r}",
                hint='wrap its arrays: ClientDataset({"x": ..., "y": ...})',
            )
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
        shown = ", ".join(list(self._clients)[:5])
        return f"Split({len(self)} clients: {shown}{', ...' if len(self) > 5 else ''})"


def _check_id(client: object) -> None:
    if not isinstance(client, str) or not client:
        raise DataError(
            f"a client's id must be a string that is not empty, found {client!r} ({type(client).__name__})",
            hint='use str(id), such as "0"',
        )
