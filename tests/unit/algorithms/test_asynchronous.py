"""Asynchrony is a closing: a small FedBuff, in a few lines, over the same executor.

J. Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hansa.algorithms import Evaluated, FedAvg
from hansa.core.ask import Ask, Closing
from hansa.core.history import History
from hansa.core.loop import Progress, Step, steps
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.rules import WeightedMean
from hansa.simulation import SequentialExecutor
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining

DATA = blobs(6)
MODEL = NumpyMLP((5, 3))


@dataclass(frozen=True)
class Discounted(WeightedMean):
    """A mean in which an update counts for 1/√(1 + staleness)."""

    def accumulate(self, accumulator: Any, update: Update) -> Any:
        return super().accumulate(accumulator, replace(update, weight=update.weight / np.sqrt(1 + update.staleness)))


@dataclass(frozen=True, kw_only=True)
class FedBuff(FedAvg):
    """FedAvg that takes the first `buffer` updates, each discounted by its staleness."""

    buffer: int

    def ask(self, state: Any, population: Population) -> Ask | None:
        ask = super().ask(state, population)
        return ask and replace(ask, rule=Discounted(), closing=Closing.first(self.buffer))


LOCAL = LocalTraining(MODEL, SGD(0.1), batch_size=8, epochs=1)


def followed(algorithm: Any) -> tuple[list[Step], Tree]:
    experiment = Experiment(MODEL, algorithm)
    executor = SequentialExecutor(algorithm.works, DATA, experiment.seed)
    found = list(steps(algorithm, executor, Progress.begin(algorithm, History(model=experiment.start())), lambda: 0.0))
    return found, found[-1].history.model


def test_a_round_takes_the_first_updates_and_the_others_count_later() -> None:
    done, _ = followed(FedBuff(LOCAL, 9, buffer=2))
    assert [len(step.reply.outcomes) for step in done] == [2] * 9
    assert [step.ask.cohort for step in done[:3]] == [("0", "1", "2", "3", "4", "5"), ("0", "1"), ("2", "3")]
    answered = [tuple(step.reply.outcomes) for step in done]
    assert answered[:4] == [("0", "1"), ("2", "3"), ("4", "5"), ("0", "1")], "nobody is forgotten"


def test_it_learns_and_its_model_depends_on_the_staleness() -> None:
    evaluated = Evaluated(FedBuff(LOCAL, 12, buffer=2), Evaluation(MODEL), every=12)
    history = Federation.simulate(DATA).run(Experiment(MODEL, evaluated)).history
    first, last = (value for _, value in history.series("loss"))
    assert last < 0.8 * first
    _, discounted = followed(FedBuff(LOCAL, 6, buffer=4))
    _, plain = followed(FedAvg(LOCAL, 6, closing=Closing.first(4)))
    assert any(not np.array_equal(discounted[name], plain[name]) for name in plain)


def test_waiting_for_everyone_is_the_synchronous_algorithm() -> None:
    _, asynchronous = followed(FedBuff(LOCAL, 3, buffer=6))
    _, synchronous = followed(FedAvg(LOCAL, 3))
    assert all(asynchronous[name].tobytes() == leaf.tobytes() for name, leaf in synchronous.items())


def test_the_works_are_those_of_the_algorithm_that_it_extends() -> None:
    works: Mapping[str, Any] = FedBuff(LOCAL, 1, buffer=1).works
    assert works == {"train": LOCAL}
