"""Federated statistics: count, mean, variance and extremes of every feature over all owners, and no record moves.

This file must not know what the statistics are used for; `hansa.algorithms.standardised` puts them in front of a training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hansa.core.ask import Ask, Closing, Reply
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import AllClients, ClientSampler
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.rules.moments import Moments
from hansa.training.statistics import Statistics

STATISTICS = "statistics"
"""The name of the work that counts."""


@dataclass(frozen=True)
class StatisticsState:
    """What is known so far: nothing, or everything. And the run's seed."""

    found: Tree
    seed: int


@dataclass(frozen=True)
class FederatedStatistics:
    """The statistics of one field over all owners, in one ask.

    The model of its run is the tree of them, each of the shape of an example: "count" (int64) of values that are there, NaN
    left out; "mean" and "var" = Σ (x − mean)² / count (float64); "min" and "max". Where no owner has a value, all are 0. The
    initial parameters play no part. Its bits do not depend on the order of the owners.

    An owner sends its own count, mean and sum of squares, which for a handful of examples come close to the examples.

    Attributes:
        field: which.
        split: of the owners' data.
        extremes: "min" and "max" too. Each is a value of somebody's record.
        sampler: who takes part, of those that hold data in `split`.
        closing: when it is complete.
    """

    field: str = "x"
    split: str = "train"
    extremes: bool = True
    sampler: ClientSampler = AllClients()
    closing: Closing = Closing.all()

    @property
    def works(self) -> Mapping[str, Work]:
        """What counts."""
        return {STATISTICS: Statistics(self.field, self.split, self.extremes)}

    def start(self, params: Tree, seed: int) -> StatisticsState:  # noqa: ARG002 - the port's signature
        """Nothing is known."""
        return StatisticsState({}, seed)

    def ask(self, state: StatisticsState, population: Population) -> Ask | None:
        """Let everybody count, once."""
        if state.found:
            return None
        cohort = self.sampler.sample(population.holding(self.split), key(state.seed, "cohort", STATISTICS))
        # No form: the shape of an example is the owners' to say. The rule compares them.
        return Ask(STATISTICS, {}, cohort, Moments(), round=1, version=0, closing=self.closing)

    def tell(self, state: StatisticsState, reply: Reply) -> StatisticsState:
        """Everything is known."""
        return StatisticsState(reply.aggregate, state.seed)

    def params(self, state: StatisticsState) -> Tree:
        """The statistics; no leaf before they are known."""
        return state.found

    def round(self, state: StatisticsState) -> int:
        """One, when they are known."""
        return 1 if state.found else 0
