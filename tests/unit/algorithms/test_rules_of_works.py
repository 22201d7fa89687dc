"""By which rule FedAvg combines the updates of a work: its own, the work's, or the mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hansa.algorithms import FedAvg
from hansa.core.ask import AggregationRule
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError, TreeMismatch
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models.torch import TorchModel
from hansa.rules import Both, Collect, WeightedMean
from hansa.testing import blobs
from hansa.training.tasks.task import task
from hansa.training.tasks.work import Tasks

DATA = blobs(3, examples=16)
POPULATION = Population(("0",), {"train": {"0": 1}})


class Works:
    """A work with rules."""

    buffers = frozenset[str]()

    def __init__(self, **rules: AggregationRule[Any]) -> None:
        self.rules: Mapping[str, AggregationRule[Any]] = {name.replace("_", ""): rule for name, rule in rules.items()}

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        return Update(dict(broadcast), client=context.id)


def rule_of(algorithm: FedAvg) -> AggregationRule[Any]:
    ask = algorithm.ask(algorithm.start({"w": np.zeros(1)}, 0), POPULATION)
    assert ask is not None
    return ask.rule


def test_the_algorithms_rule_comes_before_the_works_and_the_mean_is_the_last() -> None:
    equal, collect = WeightedMean(equal=True), Collect()
    assert rule_of(FedAvg(Works(), 1)) == WeightedMean()
    assert rule_of(FedAvg(Works(), 1, weighted=False)) == equal
    assert rule_of(FedAvg(Works(_=equal), 1)) == equal
    assert rule_of(FedAvg(Works(_=equal), 1, rule=collect)) == collect


def test_a_rule_and_unweighted_updates_contradict_each_other() -> None:
    for algorithm in ({"local": Works(), "rule": Collect()}, {"local": Works(_=Collect())}):
        with pytest.raises(
            ConfigError, match="weighted=False is said of the mean, and there is another rule"
        ) as caught:
            FedAvg(rounds=1, weighted=False, **algorithm)
        assert "WeightedMean(equal=True)" in caught.value.hint


@pytest.mark.parametrize("rule", [Collect(), Both(WeightedMean(), Collect())])
def test_a_rule_whose_aggregate_is_no_change_of_the_model_is_told(rule: AggregationRule[Any]) -> None:
    algorithm = FedAvg(Works(), 1, rule=rule)
    with pytest.raises(TreeMismatch, match="leaves differ") as caught:
        Federation.simulate(DATA).run(Experiment(TorchModel(lambda: nn.Linear(2, 1), F.mse_loss), algorithm))
    assert "the rule make one tree like it" in caught.value.hint


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(5, 4), nn.Linear(4, 3)


def shift(part: str) -> Any:
    def shifted(model: Pair, loader: Any) -> dict[str, float]:
        with torch.no_grad():
            for parameter in getattr(model, part).parameters():
                parameter += len(loader.dataset)
        return {}

    return shifted


def test_each_task_may_have_a_rule_for_leaves_of_its_own() -> None:
    model = TorchModel(Pair, F.cross_entropy)
    mean, equal = WeightedMean(), WeightedMean(equal=True)
    work = Tasks(
        model,
        ("body", task(train=True, rule=mean, leaves="body.")(shift("body"))),
        ("head", task(train=True, rule=equal, leaves="head.")(shift("head"))),
    )
    experiment = Experiment(model, FedAvg(work, 1))
    start, end = experiment.start(), Federation.simulate(DATA).run(experiment).history.model
    sizes = [16, 19, 22]
    for name, leaf in end.items():
        expected = np.average(sizes, weights=sizes) if name.startswith("body.") else np.mean(sizes)
        assert np.allclose(leaf - start[name], expected, rtol=1e-5)
