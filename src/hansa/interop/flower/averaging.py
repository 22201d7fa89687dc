"""The rule of a strategy that averages: the mean of the clients' arrays as they come, and every client's report.

`ByPrefix` of a `WeightedMean` and a `Collect` says the same; this one looks at each update once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hansa.core.population import ClientId
from hansa.core.tree import Array, Tree
from hansa.core.work import Update
from hansa.errors import AggregationError
from hansa.interop.flower.works import REPORT
from hansa.rules.mean import MeanSoFar, WeightedMean


@dataclass
class AnswersSoFar:
    """The arrays' sums, and the reports."""

    mean: MeanSoFar = field(default_factory=MeanSoFar)
    reports: dict[ClientId, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Averaged:
    """The mean of the arrays under their own names, and each client's report under the client's id and "/report".

    It takes the memory of a few models; what grows with the cohort are the reports, which are small.
    """

    grows = True
    mean = WeightedMean()

    def zero(self) -> AnswersSoFar:
        """No updates."""
        return AnswersSoFar()

    def check(self, accumulator: AnswersSoFar, update: Update) -> None:
        """Raise what `WeightedMean` raises, and `AggregationError` for a second update of one client."""
        self._check_first(accumulator, update.client)
        self.mean.check(accumulator.mean, _arrays(update))

    def accumulate(self, accumulator: AnswersSoFar, update: Update) -> AnswersSoFar:
        """One update more."""
        self._check_first(accumulator, update.client)
        accumulator.mean = self.mean.accumulate(accumulator.mean, _arrays(update))
        accumulator.reports[update.client] = update.tree[REPORT]
        return accumulator

    def merge(self, a: AnswersSoFar, b: AnswersSoFar) -> AnswersSoFar:
        """The updates of both."""
        for client in b.reports:
            self._check_first(a, client)
        return AnswersSoFar(self.mean.merge(a.mean, b.mean), {**a.reports, **b.reports})

    def finish(self, accumulator: AnswersSoFar) -> Tree:
        """All of it."""
        reports = {f"{client}/{REPORT}": accumulator.reports[client] for client in sorted(accumulator.reports)}
        return {**self.mean.finish(accumulator.mean), **reports}

    def _check_first(self, accumulator: AnswersSoFar, client: ClientId) -> None:
        if client in accumulator.reports:
            raise AggregationError(f"a second update of client {client!r} in one round", hint="ask each client once")


def parted(aggregate: Tree) -> tuple[Tree, dict[ClientId, Array]]:
    """What `Averaged` gave: the mean of the arrays, and the clients' reports."""
    end = f"/{REPORT}"
    mean = {name: leaf for name, leaf in aggregate.items() if not name.endswith(end)}
    return mean, {name.removesuffix(end): leaf for name, leaf in aggregate.items() if name not in mean}


def _arrays(update: Update) -> Update:
    return replace(update, tree={name: leaf for name, leaf in update.tree.items() if name != REPORT})
