"""EarlyStopping: a run that no longer gets better ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hansa.algorithms.stopping import NoProgress
from hansa.callbacks.port import Watched
from hansa.core.history import FEDERATED, Entry
from hansa.errors import ConfigError, UnknownName


@dataclass(frozen=True)
class EarlyStopping:
    """End a run whose metric has not improved for a while, as one that finished (Prechelt 1998, "Early Stopping").

    It keeps nothing itself: what it knows is in the History, so that a run that goes on after a kill stops where it would have.

    Attributes:
        by: "max accuracy" or "min loss": the way, and a metric of the evaluations.
        patience: so many evaluations in a row without an improvement end the run.
        min_delta: what counts as an improvement on the best so far is more than this.
        model: whose metric; the federation's own unless given.
    """

    by: str = "max accuracy"
    patience: int = 5
    min_delta: float = 0.0
    model: str = FEDERATED

    def __post_init__(self) -> None:
        if math.isinf(self.min_delta):
            raise ConfigError("min_delta is infinite, and nothing improves by that much")
        self.condition  # noqa: B018 - it checks the rest

    @property
    def condition(self) -> NoProgress:
        """The same as an algorithm's own condition, for `hansa.algorithms.stopping.Stopping`."""
        return NoProgress(self.by, self.patience, self.min_delta)

    def started(self, _run: Watched) -> None:
        """Nothing yet."""

    def entry(self, run: Watched, entry: Entry) -> None:
        """After an evaluation: stop the run where patience is at its end.

        Raises:
            UnknownName: the evaluation has no such metric.
        """
        if entry.model != self.model:
            return
        metric = self.condition.metric
        if metric not in entry.metrics:
            raise UnknownName.among("metric", metric, entry.metrics)
        if self.condition.holds([value for _, value in run.history.series(metric, self.model)]):
            run.stop(f"no better {metric} in {self.patience} evaluations")

    def ended(self, run: Watched) -> None:
        """Nothing more.

        Raises:
            ConfigError: the run finished and the model was never evaluated.
        """
        if not run.failure and not any(True for _ in run.history.evaluations(self.model)):
            raise ConfigError(
                f"the model {self.model!r} was never evaluated, so nothing could stop the run early",
                hint="wrap the algorithm in Evaluated(...)",
            )
