"""Collect: keep every update apart, under its client's id."""

from __future__ import annotations

from dataclasses import dataclass

from hansa.core.tree import Tree, join
from hansa.core.work import Update
from hansa.errors import AggregationError


@dataclass(frozen=True)
class Collect:
    """The updates themselves: `hansa.core.tree.part(aggregate, client)` is a client's tree.

    Its accumulator grows with the cohort.
    """

    grows = True

    def zero(self) -> dict[str, Tree]:
        """No updates."""
        return {}

    def check(self, accumulator: dict[str, Tree], update: Update) -> None:
        """Raise `AggregationError` for a second update of the same client."""
        if update.client in accumulator:
            raise AggregationError(
                f"a second update of client {update.client!r} in one collection", hint="ask each client once"
            )

    def accumulate(self, accumulator: dict[str, Tree], update: Update) -> dict[str, Tree]:
        """One update more."""
        self.check(accumulator, update)
        accumulator[update.client] = update.tree
        return accumulator

    def merge(self, a: dict[str, Tree], b: dict[str, Tree]) -> dict[str, Tree]:
        """The updates of both. Raises `AggregationError` where a client is in both."""
        for client, tree in b.items():
            a = self.accumulate(a, Update(tree, client=client))
        return a

    def finish(self, accumulator: dict[str, Tree]) -> Tree:
        """All trees joined, in the order of the clients' ids."""
        return join({client: accumulator[client] for client in sorted(accumulator)})
