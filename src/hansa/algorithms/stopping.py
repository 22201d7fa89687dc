"""Stopping: any algorithm, ended early by what its evaluations measure. A combinator: the one inside learns nothing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hansa.core.ask import Ask, FederatedAlgorithm, Reply
from hansa.core.goal import Goal
from hansa.core.history import FEDERATED, MODEL
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.errors import ConfigError


class StopCondition(Protocol):
    """When a run has come far enough."""

    @property
    def metric(self) -> str:
        """The metric of the federated model that it looks at."""
        ...

    def holds(self, values: Sequence[float]) -> bool:
        """Whether to stop, after these values of the metric, in the order in which they were measured."""
        ...


@dataclass(frozen=True)
class Reached:
    """Stop once a metric is as good as this: `Reached("max accuracy", 0.95)`.

    Attributes:
        goal: the way, and the metric.
        value: what is good enough.
    """

    goal: str
    value: float

    def __post_init__(self) -> None:
        Goal.of(self.goal)

    @property
    def metric(self) -> str:
        """The goal's."""
        return Goal.of(self.goal).metric

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the last value is good enough; NaN is not."""
        return Goal.of(self.goal).better(values[-1], self.value) or values[-1] == self.value


@dataclass(frozen=True)
class NoProgress:
    """Stop once a metric has not become better for a while: `NoProgress("min loss", evaluations=5)`.

    Attributes:
        goal: the way, and the metric.
        evaluations: so many in a row without a new best.
        least: what is not better by more than this does not count as better.
    """

    goal: str
    evaluations: int = 5
    least: float = 0.0

    def __post_init__(self) -> None:
        Goal.of(self.goal)
        if self.evaluations < 1:
            raise ConfigError(f"patience lasts 1 or more evaluations, not {self.evaluations}")
        if not self.least >= 0:
            raise ConfigError(f"the least progress is at least 0, not {self.least}")

    @property
    def metric(self) -> str:
        """The goal's."""
        return Goal.of(self.goal).metric

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the best value is that old."""
        goal, best, since = Goal.of(self.goal), None, 0
        for value in values:
            if goal.better(value, best, self.least if best is not None else 0.0):
                best, since = value, 0
            else:
                since += 1
        return since >= self.evaluations


@dataclass(frozen=True)
class StoppingState:
    """Where it stands: the inner state, and for each condition the values of its metric so far."""

    inner: Any
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Stopping:
    """End an algorithm as soon as one of the conditions holds.

    Attributes:
        inner: the algorithm, with evaluations: `Stopping(Evaluated(FedAvg(...), Evaluation(model)), Reached(...))`.
        conditions: one of them is enough.
    """

    inner: FederatedAlgorithm[Any]
    conditions: tuple[StopCondition, ...]

    @property
    def works(self) -> Mapping[str, Work]:
        """The inner algorithm's."""
        return self.inner.works

    def start(self, params: Tree, seed: int) -> StoppingState:
        """Before the first ask."""
        return StoppingState(self.inner.start(params, seed), ((),) * len(self.conditions))

    def ask(self, state: StoppingState, population: Population) -> Ask | None:
        """What the inner algorithm asks, unless it is enough."""
        pairs = zip(self.conditions, state.values, strict=True)
        if any(values and condition.holds(values) for condition, values in pairs):
            return None
        return self.inner.ask(state.inner, population)

    def tell(self, state: StoppingState, reply: Reply) -> StoppingState:
        """Tell the inner algorithm, and remember what an evaluation of the federated model measured."""
        state = replace(state, inner=self.inner.tell(state.inner, reply))
        if reply.settings.get(MODEL) != FEDERATED:
            return state
        grown = []
        for condition, values in zip(self.conditions, state.values, strict=True):
            measured = condition.metric in reply.metrics
            grown.append((*values, reply.metrics.value(condition.metric)) if measured else values)
        return replace(state, values=tuple(grown))

    def params(self, state: StoppingState) -> Tree:
        """The inner algorithm's."""
        return self.inner.params(state.inner)

    def round(self, state: StoppingState) -> int:
        """The inner algorithm's."""
        return self.inner.round(state.inner)
