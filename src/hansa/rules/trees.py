"""Joined trees: the new trees of a cohort become one set, to be added to the ensemble that all of them went on from.

This file must not know which ensemble that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.errors import AggregationError, DataError, UnknownName
from hansa.models.ensemble import Trees, check_heads, joined, scaled, trees_from_tree, trees_to_tree

Shares = Literal["weighted", "equal", "added"]
"""How much the trees of one client count beside those of the others."""

TreesSoFar = dict[str, tuple[Trees, float]]
"""What a `JoinedTrees` keeps: each client's trees and weight."""


@dataclass(frozen=True)
class JoinedTrees:
    """The new trees of all clients, in the order of the clients' ids. Its accumulator grows with the cohort.

    Each client grew its trees as if it were alone, so that all of them together would step too far: with shares, what a tree's
    leaves say is multiplied by its client's share, and the ensemble takes the mean of the clients' steps.

    Attributes:
        shares: "weighted" by the updates' weights, such as their numbers of examples, or "equal": what NVFlare's tree-based
            bagging does by scaling learning rates, in its modes "scaled" and "uniform". Or "added" as they are, as Flower's
            FedXgbBagging does, which takes a learning rate that is small enough for all of them.
        head: what all trees must hold to, as `hansa.models.ensemble.head_of` tells it of the ensemble that they are grown for;
            None for whatever the first update's hold to.
    """

    shares: Shares = "weighted"
    head: Mapping[str, Any] | None = None
    grows = True

    def __post_init__(self) -> None:
        if self.shares not in get_args(Shares):
            raise UnknownName.among("kind of shares", self.shares, get_args(Shares))

    def zero(self) -> TreesSoFar:
        """No trees."""
        return {}

    def check(self, accumulator: TreesSoFar, update: Update) -> None:
        """Raise what is wrong with an update: no trees, malformed ones, other ones than the first's, or a client's second."""
        self._checked(accumulator, update)

    def accumulate(self, accumulator: TreesSoFar, update: Update) -> TreesSoFar:
        """One client's trees more."""
        accumulator[update.client] = self._checked(accumulator, update), float(update.weight)
        return accumulator

    def merge(self, a: TreesSoFar, b: TreesSoFar) -> TreesSoFar:
        """The trees of both. Raises `AggregationError` for a client in both, `TreeMismatch` where they do not go together."""
        for client, (trees, _) in b.items():
            self._check_beside(a, client, trees)
        return {**a, **b}

    def finish(self, accumulator: TreesSoFar) -> Tree:
        """The trees joined, each with its client's share; `hansa.models.ensemble.trees_from_tree` reads it.

        Raises:
            AggregationError: there was no update, or all weights are zero.
        """
        if not accumulator:
            raise AggregationError("there are no trees to join", hint="see the outcomes for why no client gave any")
        factors = self._factors(accumulator)
        return trees_to_tree(
            joined([scaled(accumulator[client][0], factors[client]) for client in sorted(accumulator)])
        )

    def _factors(self, accumulator: TreesSoFar) -> dict[str, float]:
        if self.shares == "added":
            return dict.fromkeys(accumulator, 1.0)
        weights = {c: weight if self.shares == "weighted" else 1.0 for c, (_, weight) in accumulator.items()}
        total = sum(weights[client] for client in sorted(weights))  # in an order that is not that of arrival
        if not total:
            raise AggregationError(
                f"the weights of all {len(weights)} updates are zero, so their trees have no shares",
                hint='a client\'s weight is its number of examples: give the clients data, or use shares="equal"',
            )
        return {client: weight / total for client, weight in weights.items()}

    def _checked(self, accumulator: TreesSoFar, update: Update) -> Trees:
        where = f"the update of client {update.client!r}"
        try:
            trees = trees_from_tree(update.tree, where)
        except DataError as problem:
            raise AggregationError(problem.what, where=where) from problem
        self._check_beside(accumulator, update.client, trees)
        return trees

    def _check_beside(self, accumulator: TreesSoFar, client: str, trees: Trees) -> None:
        if client in accumulator:
            raise AggregationError(f"a second set of trees of client {client!r}", hint="ask each client once")
        heads = [other.head for other, _ in accumulator.values()] if self.head is None else [self.head]
        for head in heads[:1]:
            check_heads(trees.head, head, where=f"the update of client {client!r}")
