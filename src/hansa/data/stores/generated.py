"""Clients' data sets made by a function, each when it is asked for: populations of any size.

This file must not know how the function makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from hansa.core.ids import LazyIds, Numbered
from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.data.stores.store import ClientStore, dataset_at
from hansa.errors import ConfigError, DataError

Generator = Callable[[Any], ClientDataset | Mapping[str, npt.ArrayLike]]
"""A client's number, or its id where ids were given, in; its examples out, the same whenever it is called."""


class Generated(ClientStore):
    """Data sets that a function makes.

    Args:
        function: makes one; called with a client's number where `clients` is a number, otherwise with its id.
        clients: how many clients, called "0", "1", ...; or their ids.
        ids: the very ids of another such store, so that both are known to have the same.

    Raises:
        ConfigError: there is no client.
    """

    def __init__(
        self, function: Generator, clients: int | Sequence[ClientId], ids: Sequence[ClientId] | None = None
    ) -> None:
        if (clients if isinstance(clients, int) else len(clients)) < 1:
            raise ConfigError("a federation has at least one client", hint="such as clients=1000, or a list of ids")
        self._function, self._numbered = function, isinstance(clients, int)
        if ids is None:
            ids = Numbered(clients) if isinstance(clients, int) else clients
        self._ids = ids if isinstance(ids, LazyIds) else tuple(ids)

    @property
    def ids(self) -> Sequence[ClientId]:
        """Their ids; as they were given, or the numbers from 0."""
        return self._ids

    def __getitem__(self, client: ClientId) -> ClientDataset:
        made: object = self._function(int(client) if self._numbered else client)
        if isinstance(made, ClientDataset):
            return made
        if isinstance(made, Mapping):
            return dataset_at(f"client {client!r}", made)
        raise DataError(
            f"the function returned {type(made).__name__}, expected a ClientDataset or a dict of arrays",
            where=f"client {client!r}",
            hint='return {"x": ..., "y": ...}, each with one row an example',
        )
