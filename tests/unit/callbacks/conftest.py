"""A small run that can be watched: the loop and the sequential executor behind the port of callbacks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hansa.algorithms import Evaluated, FedAvg
from hansa.callbacks import Callback, Told
from hansa.callbacks.port import Which
from hansa.callbacks.stored import Stored
from hansa.core.history import History
from hansa.core.loop import Progress, steps
from hansa.core.tree import Tree
from hansa.errors import RunFailed
from hansa.experiment import Experiment
from hansa.models import NumpyMLP
from hansa.simulation import SequentialExecutor
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining

MODEL = NumpyMLP((5, 3))
DATA = blobs(3)


def experiment(rounds: int = 4, **changes: Any) -> Experiment:
    """FedAvg with momentum at the server, evaluated after every round, the owners' models too."""
    local = LocalTraining(MODEL, SGD(0.1), epochs=1)
    averaging = FedAvg(local, rounds, server=SGD(1.0, momentum=0.5))
    return replace(
        Experiment(MODEL, Evaluated(averaging, Evaluation(MODEL), owners=True), seed=3, name="blobs"), **changes
    )


class Simulated:
    """A run in the way in which the composition root drives one: what callbacks are given."""

    def __init__(
        self, experiment: Experiment, callbacks: Sequence[Callback] = (), resumed: Stored | None = None
    ) -> None:
        self.id, self.name, self.rounds = f"{experiment.name}-1", experiment.name, getattr(experiment, "rounds", None)
        self.failure, self.stopped, self._experiment = "", "", experiment
        self._clock = itertools.count()
        self._executor = SequentialExecutor(experiment.algorithm.works, DATA, experiment.seed)
        self.progress: Progress | None = None
        if resumed is not None:
            self.progress = resumed.progress
            self._executor.restore(resumed.remembered)
        self.told = Told(self, callbacks)

    @property
    def history(self) -> History:
        return History(seed=self._experiment.seed) if self.progress is None else self.progress.history

    @property
    def remembered(self) -> Any:
        return self._executor.state

    def model(self, _which: Which = "last") -> Tree:
        return self.history.model

    def stop(self, why: str) -> None:
        self.stopped = why

    def cancel(self, why: str) -> None:
        self.failure = why

    def run(self) -> History:
        algorithm, seed = self._experiment.algorithm, self._experiment.seed
        try:
            self.told.started()
            if self.progress is None:
                self.progress = Progress.begin(algorithm, History(model=self._experiment.start(), seed=seed))
            for step in steps(algorithm, self._executor, self.progress, lambda: float(next(self._clock))):
                self.progress = step.progress
                self.told.entry(step.history.entries[-1])
                if self.stopped or self.failure:
                    break
        except BaseException as problem:
            self.failure = str(problem) or type(problem).__name__
            raise
        finally:
            self.told.ended()
        if self.failure:
            raise RunFailed(self.failure, history=self.history)
        return self.history


@pytest.fixture
def small() -> Callable[..., Experiment]:
    """Makes a small experiment."""
    return experiment


@pytest.fixture
def simulated() -> type[Simulated]:
    """The class of a simulated run: `simulated(experiment, callbacks, resumed).run()`."""
    return Simulated
