"""Standardised: any algorithm, on data that are standardised by the federation's own statistics. A combinator.

The algorithm inside learns nothing of it: the first ask gathers the statistics, and every later broadcast carries them to the
clients, where they are taken off again before the work sees the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hansa.algorithms.statistics import STATISTICS, FederatedStatistics, StatisticsState
from hansa.core.ask import Ask, FederatedAlgorithm, Reply
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.errors import ConfigError
from hansa.training.standardising import Standardiser, Standardising, without_scaler


@dataclass(frozen=True)
class StandardisedState:
    """Where it stands.

    Attributes:
        inner: the inner algorithm's state.
        statistics: of the gathering.
        scaler: the mean and the standard deviation, under their prefix; no leaf before they are known.
    """

    inner: Any
    statistics: StatisticsState
    scaler: Tree


@dataclass(frozen=True)
class Standardised:
    """Gather the mean and the variance of a field over all owners, then run an algorithm on (x − mean) / std.

    What is missing, NaN, becomes the federation's mean, which is 0. A feature that never varies keeps its scale. All splits of
    all clients are standardised, an evaluator's too, and every work of the algorithm inside sees them so: put evaluations
    inside, `Standardised(Evaluated(FedAvg(...), ...))`.

    The model of a run has the statistics beside the inner model's own leaves, as "scaler/mean" and "scaler/std" (float64, the
    shape of an example). A model that is fetched says by itself what its inputs were: `Standardiser.of(model)` is the transform
    that new data need. Given such a model as initial parameters, it goes on with its statistics, and gathers none.

    Attributes:
        inner: the algorithm.
        statistics: which field, and who is asked; without extremes unless said otherwise.
    """

    inner: FederatedAlgorithm[Any]
    statistics: FederatedStatistics = FederatedStatistics(extremes=False)

    def __post_init__(self) -> None:
        if STATISTICS in self.inner.works:
            raise ConfigError(
                f"the algorithm inside already has a work named {STATISTICS!r}", hint="wrap it in one Standardised only"
            )

    @property
    def works(self) -> Mapping[str, Work]:
        """What counts, and the inner algorithm's, each on standardised data."""
        inner = {name: Standardising(work, self.statistics.field) for name, work in self.inner.works.items()}
        return {**inner, **self.statistics.works}

    def start(self, params: Tree, seed: int) -> StandardisedState:
        """Before the gathering, or right after it where the parameters bring statistics."""
        own = without_scaler(params)
        scaler = {name: leaf for name, leaf in params.items() if name not in own}
        return StandardisedState(self.inner.start(own, seed), self.statistics.start(own, seed), scaler)

    def ask(self, state: StandardisedState, population: Population) -> Ask | None:
        """The gathering, or else what the inner algorithm asks, with the statistics beside its broadcast."""
        if not state.scaler:
            ask = self.statistics.ask(state.statistics, population)
            return None if ask is None else replace(ask, round=0)
        ask = self.inner.ask(state.inner, population)
        return None if ask is None else replace(ask, broadcast={**ask.broadcast, **state.scaler})

    def tell(self, state: StandardisedState, reply: Reply) -> StandardisedState:
        """Keep the statistics, or tell the inner algorithm."""
        if reply.work == STATISTICS:
            statistics = self.statistics.tell(state.statistics, reply)
            scaler = Standardiser.from_statistics(statistics.found, self.statistics.field).to_tree()
            return replace(state, statistics=statistics, scaler=scaler)
        return replace(state, inner=self.inner.tell(state.inner, reply))

    def params(self, state: StandardisedState) -> Tree:
        """The inner algorithm's, and the statistics as soon as they are known."""
        return {**self.inner.params(state.inner), **state.scaler}

    def round(self, state: StandardisedState) -> int:
        """The inner algorithm's."""
        return self.inner.round(state.inner)
