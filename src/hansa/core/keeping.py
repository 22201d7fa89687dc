"""Which of a run's models are kept besides the last: the best by a metric, and one every so many rounds.

Pure: whoever runs an algorithm, in the simulator or in a Director, asks after every step which marks its model earns.
"""

from __future__ import annotations

from dataclasses import dataclass

from hansa.core.goal import Goal
from hansa.core.history import FEDERATED, History
from hansa.errors import ConfigError, RunFailed

BEST, CHECKPOINT = "best", "checkpoint"


@dataclass(frozen=True)
class Best:
    """The best value of a metric so far, and the round whose model had it."""

    round: int
    value: float


@dataclass(frozen=True)
class Keeping:
    """What is kept.

    Attributes:
        best: by which metric, such as "max accuracy"; None keeps no best.
        every: a model every so many rounds; None keeps none.
    """

    best: str | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        if self.best is not None:
            Goal.of(self.best)
        if self.every is not None and self.every < 1:
            raise ConfigError(f"a model is kept every 1 or more rounds, not every {self.every}")

    def so_far(self, history: History) -> Best | None:
        """The best of a run that goes on from here; None where there is none yet."""
        if self.best is None or not history.series(Goal.of(self.best).metric):
            return None
        return Best(*history.best(self.best))

    def marks(self, history: History, before: int, best: Best | None) -> tuple[frozenset[str], Best | None]:
        """What the model after the last step is kept as, and the best from then on.

        Args:
            history: the run up to and including the step.
            before: how many rounds were completed before the step.
            best: the best before the step.

        Raises:
            RunFailed: the federated model was evaluated, and the metric that `best` names was not measured.
        """
        marks = set()
        if self.every is not None and history.rounds > before and history.rounds % self.every == 0:
            marks.add(CHECKPOINT)
        entry = history.entries[-1]
        if self.best is not None and entry.model == FEDERATED:
            goal = Goal.of(self.best)
            if goal.metric not in entry.metrics:
                measured = ", ".join(map(repr, entry.metrics)) or "nothing"
                raise RunFailed(
                    f"best is {self.best!r}, and the evaluation measured {measured}",
                    where=f"round {entry.round}",
                    hint=f"let the evaluation measure {goal.metric!r}, or name another metric",
                    history=history,
                )
            value = entry.metrics.value(goal.metric)
            if goal.better(value, None if best is None else best.value):
                marks.add(BEST)
                best = Best(entry.round, value)
        return frozenset(marks), best
