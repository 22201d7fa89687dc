"""Who may be asked: the clients that an algorithm sees, and what each of them holds.

This file must not know how clients are reached or where their data lie.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

ClientId = str
"""A participant of an experiment; deployed, `envoy` or `envoy/client`."""


@dataclass(frozen=True)
class Population:
    """The clients that may be asked now.

    Attributes:
        ids: every client, in an order that does not change during a run.
        examples: for each split of the data ("train", "test"), how many examples each client holds in it; a client that
            is absent holds none.
    """

    ids: Sequence[ClientId]
    examples: Mapping[str, Mapping[ClientId, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def held(self, client: ClientId) -> int:
        """How many examples a client holds, in all splits together."""
        return sum(sizes.get(client, 0) for sizes in self.examples.values())

    def holding(self, split: str) -> Population:
        """Only those with at least one example in `split`: trainers hold "train"; an evaluator holds only "test"."""
        held = self.examples.get(split, {})
        return Population(tuple(client for client in self.ids if held.get(client, 0) > 0), self.examples)

    def without(self, busy: Collection[ClientId]) -> Population:
        """Only those not in `busy`."""
        return Population(tuple(client for client in self.ids if client not in busy), self.examples) if busy else self
