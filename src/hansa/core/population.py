"""Who may be asked: the clients that an algorithm sees, and what each of them holds.

This file must not know how clients are reached or where their data lie.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hansa.core.ids import LazyIds, without

ClientId = str
"""A participant of an experiment; deployed, `envoy` or `envoy/client`."""


@dataclass(frozen=True, eq=False)
class LazySizes(Mapping[ClientId, int]):
    """How many examples clients hold, found out for one when it is asked for; that may load its data.

    Attributes:
        clients: who holds any, as far as can be told without looking. `in` is quick.
        find: looks how many a client holds.
    """

    clients: Collection[ClientId]
    find: Callable[[ClientId], int]

    def __getitem__(self, client: ClientId) -> int:
        if client not in self.clients:
            raise KeyError(client)
        return self.find(client)

    def __contains__(self, client: object) -> bool:
        return client in self.clients

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self.clients)

    def __len__(self) -> int:
        return len(self.clients)

    def __repr__(self) -> str:
        return f"LazySizes of {len(self):,} clients"


@dataclass(frozen=True)
class Population:
    """The clients that may be asked now.

    Attributes:
        ids: every client, in an order that does not change during a run; `LazyIds` where nobody lists them.
        examples: for each split of the data ("train", "test"), how many examples each client holds in it; a client that
            is absent holds none. `LazySizes` where that is not known before it is asked for: who is named holds some.
        in_flight: for each work how many clients, none of them in `ids`, were asked for it and have not answered yet.
    """

    ids: Sequence[ClientId]
    examples: Mapping[str, Mapping[ClientId, int]] = field(default_factory=dict)
    in_flight: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def held(self, client: ClientId) -> int:
        """How many examples a client holds, in all splits together."""
        return sum(sizes.get(client, 0) for sizes in self.examples.values())

    def holding(self, split: str) -> Population:
        """Only those with at least one example in `split`: trainers hold "train"; an evaluator holds only "test".

        Whose size is not known before it is asked for is taken to hold some.
        """
        return replace(self, ids=self._holders(self.examples.get(split, {})))

    def without(self, busy: Collection[ClientId]) -> Population:
        """Only those not in `busy`."""
        return replace(self, ids=without(self.ids, busy)) if busy else self

    def _holders(self, held: Mapping[ClientId, int]) -> Sequence[ClientId]:
        if isinstance(held, LazySizes):
            if isinstance(self.ids, LazyIds):
                return self.ids.among(held.clients)
            return tuple(client for client in self.ids if client in held)
        if isinstance(self.ids, LazyIds):
            return self.ids.among([client for client, count in held.items() if count > 0])
        return tuple(client for client in self.ids if held.get(client, 0) > 0)
