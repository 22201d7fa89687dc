"""The client manager: who can be asked now, and a sample of them. Its choices follow from a seed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from hansa.core.keys import Key, key
from hansa.core.population import ClientId
from hansa.errors import CohortTooLarge
from hansa.interop.flower.server.client_proxy import ClientProxy

LOOK = 0.2
"""Seconds between two looks whether more clients are there."""


class Criterion(ABC):
    """Says which clients may be sampled."""

    @abstractmethod
    def select(self, client: ClientProxy) -> bool:
        """Whether this one may."""


class ClientManager(ABC):
    """What a strategy asks for clients."""

    @abstractmethod
    def num_available(self) -> int:
        """How many are there."""

    @abstractmethod
    def register(self, client: ClientProxy) -> bool:
        """One has come; False where it was there."""

    @abstractmethod
    def unregister(self, client: ClientProxy) -> None:
        """One has gone."""

    @abstractmethod
    def all(self) -> dict[ClientId, ClientProxy]:
        """Everyone, by id."""

    @abstractmethod
    def wait_for(self, num_clients: int, timeout: int = 86_400) -> bool:
        """Wait until so many are there; False where they did not come in so many seconds."""

    @abstractmethod
    def sample(
        self, num_clients: int, min_num_clients: int | None = None, criterion: Criterion | None = None
    ) -> list[ClientProxy]:
        """A random choice of those that are there, none twice."""


class SimpleClientManager(ClientManager):
    """Chooses uniformly.

    Args:
        seed: of every choice; the same seed and the same clients give the same ones.

    Attributes:
        clients: who is there, by id.
        look: finds out who is there now; None where nobody comes or goes, as in a simulation.
    """

    def __init__(self, seed: int = 0) -> None:
        self.clients: dict[ClientId, ClientProxy] = {}
        self.look: Callable[[], Iterable[ClientId]] | None = None
        self._key, self._choices = key(seed, "sample"), 0

    def __len__(self) -> int:
        return len(self.clients)

    def num_available(self) -> int:
        """How many are there."""
        return len(self.clients)

    def register(self, client: ClientProxy) -> bool:
        """One has come; False where it was there."""
        return self.clients.setdefault(client.cid, client) is client

    def unregister(self, client: ClientProxy) -> None:
        """One has gone."""
        self.clients.pop(client.cid, None)

    def all(self) -> dict[ClientId, ClientProxy]:
        """Everyone, by id."""
        return self.clients

    def wait_for(self, num_clients: int, timeout: int = 86_400) -> bool:
        """Wait until so many are there; False where they did not come in so many seconds, or never will."""
        until = time.monotonic() + timeout
        while len(self.clients) < num_clients:
            if self.look is None or time.monotonic() > until:
                return False
            time.sleep(LOOK)
            meet(self, self.look())
        return True

    def sample(
        self, num_clients: int, min_num_clients: int | None = None, criterion: Criterion | None = None
    ) -> list[ClientProxy]:
        """A random choice of those that are there, none twice; nobody where a criterion leaves too few.

        Raises:
            CohortTooLarge: there are too few, whatever the criterion.
        """
        wanted = max(num_clients, min_num_clients or 0)
        if not self.wait_for(wanted):
            raise CohortTooLarge(
                f"the strategy wants {wanted} clients, and there are {len(self.clients)}",
                hint="see its min_fit_clients, min_evaluate_clients and min_available_clients, which are 2 unless given",
            )
        there = [client for client in self.clients.values() if criterion is None or criterion.select(client)]
        if num_clients > len(there):
            return []
        chosen = self._next().generator().choice(len(there), num_clients, replace=False)
        return [there[index] for index in chosen]

    def _next(self) -> Key:
        self._choices += 1
        return self._key.child(self._choices)


def meet(manager: ClientManager, ids: Iterable[ClientId]) -> None:
    """Let a manager know who is there now."""
    here = dict.fromkeys(ids)
    for gone in [client for cid, client in manager.all().items() if cid not in here]:
        manager.unregister(gone)
    for cid in here:
        if cid not in manager.all():
            manager.register(ClientProxy(cid))
