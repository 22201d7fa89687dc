"""Evaluations between the rounds of any algorithm, which learns nothing of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hansa.algorithms import Evaluated, FedAvg
from hansa.core import tree
from hansa.core.ask import Closing
from hansa.core.history import FEDERATED, History
from hansa.core.keys import key
from hansa.core.sampling import FixedClients, UniformSampler
from hansa.core.work import ClientContext
from hansa.data import FederatedData
from hansa.errors import ConfigError
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining

DATA = blobs(3)
MODEL = NumpyMLP((5, 4, 3))
LOCAL = LocalTraining(MODEL, SGD(0.1), batch_size=8, epochs=1)


def run(algorithm: Any, data: FederatedData = DATA, seed: int = 0) -> History:
    return Federation.simulate(data).run(Experiment(MODEL, algorithm, seed=seed)).history


def rounds(history: History, model: str | None = FEDERATED) -> list[int]:
    return [entry.round for entry in history.evaluations(model)]


@pytest.mark.parametrize(
    ("settings", "of", "expected"),
    [
        ({}, 3, [0, 1, 2, 3]),
        ({"every": 2}, 4, [0, 2, 4]),
        ({"every": 2}, 5, [0, 2, 4, 5]),
        ({"every": 10}, 3, [0, 3]),
        ({"rounds": [0]}, 3, [0]),
        ({"rounds": [1, 3]}, 3, [1, 3]),
        ({"rounds": (2, 99)}, 3, [2]),
        ({"rounds": []}, 3, []),
        ({}, 0, [0]),
        ({"rounds": [1], "every": 2}, 4, [1]),
    ],
)
def test_it_evaluates_after_the_rounds_that_it_should_and_once_each(
    settings: dict[str, Any], of: int, expected: list[int]
) -> None:
    history = run(Evaluated(FedAvg(LOCAL, of), Evaluation(MODEL), **settings))
    assert rounds(history) == rounds(history, None) == expected
    assert history.rounds == of
    assert [entry.round for entry in history.entries if entry.work == "train"] == list(range(1, of + 1))


def test_an_evaluation_stands_after_the_training_of_its_round() -> None:
    history = run(Evaluated(FedAvg(LOCAL, 2), Evaluation(MODEL)))
    told = [(entry.work, entry.round, entry.version) for entry in history.entries]
    assert told == [("evaluate", 0, 0), ("train", 1, 0), ("evaluate", 1, 1), ("train", 2, 1), ("evaluate", 2, 2)]
    assert all(entry.settings == {"model": FEDERATED} for entry in history.evaluations())


@pytest.mark.parametrize("settings", [{}, {"every": 2}, {"owners": True}, {"sampler": UniformSampler(2)}])
def test_wrapping_changes_no_bit_of_the_trained_model(settings: dict[str, Any]) -> None:
    inner = FedAvg(LOCAL, 4, UniformSampler(2))
    plain, wrapped = run(inner), run(Evaluated(inner, Evaluation(MODEL), **settings))
    assert all(wrapped.model[name].tobytes() == leaf.tobytes() for name, leaf in plain.model.items())
    trained = [entry for entry in wrapped.entries if entry.work == "train"]
    for one, other in zip(plain.entries, trained, strict=True):
        assert (one.metrics, one.outcomes, one.version) == (other.metrics, other.outcomes, other.version)


def test_what_is_measured_is_the_global_model_on_the_held_out_data() -> None:
    history = run(Evaluated(FedAvg(LOCAL, 2), Evaluation(MODEL)))
    pooled = [DATA.test[client].all() for client in DATA]
    everything = {name: np.concatenate([batch[name] for batch in pooled]) for name in ("x", "y")}
    prediction = MODEL.predict(MODEL.load(history.model), everything)
    assert history.final("loss") == pytest.approx(prediction.loss, rel=1e-5)
    assert history.final("accuracy") == (prediction.outputs.argmax(axis=1) == everything["y"]).mean()
    last = list(history.evaluations())[-1]
    assert {client: outcome.weight for client, outcome in last.outcomes.items()} == dict(DATA.sizes("test"))


def test_each_owner_s_own_model_is_measured_as_it_was_before_averaging() -> None:
    algorithm = Evaluated(FedAvg(LOCAL, 2), Evaluation(MODEL), owners=True)
    history = run(algorithm)
    order = [(entry.round, entry.settings["model"]) for entry in history.evaluations()]
    of_owners = list(DATA)
    assert order == [
        (0, FEDERATED),
        *((1, client) for client in of_owners),
        (1, FEDERATED),
        *((2, client) for client in of_owners),
        (2, FEDERATED),
    ]
    start = MODEL.init(key(0, "init"))
    for client in of_owners:
        context = ClientContext(client, DATA.shard(client), 1, key(0, "client", client, 1, "train", 0))
        own = tree.moved(start, LOCAL(start, context).tree)
        correct = sum(
            (MODEL.predict(MODEL.load(own), batch).outputs.argmax(axis=1) == batch["y"]).sum()
            for batch in (DATA.test[other].all() for other in DATA)
        )
        assert dict(history.series("accuracy", client))[1] == correct / sum(DATA.sizes("test").values())


def test_owners_are_measured_only_in_rounds_that_are_evaluated() -> None:
    history = run(Evaluated(FedAvg(LOCAL, 4, UniformSampler(1)), Evaluation(MODEL), every=2, owners=True))
    trainers = {entry.round: next(iter(entry.outcomes)) for entry in history.entries if entry.work == "train"}
    owners = [(e.round, e.settings["model"]) for e in history.evaluations() if e.settings["model"] != FEDERATED]
    assert owners == [(2, trainers[2]), (4, trainers[4])]


def test_a_last_round_that_is_not_due_is_measured_without_its_owners() -> None:
    history = run(Evaluated(FedAvg(LOCAL, 3), Evaluation(MODEL), every=2, owners=True))
    assert rounds(history) == [0, 2, 3]
    assert rounds(history, "0") == [2]


def test_an_evaluator_never_trains_and_a_trainer_without_test_data_never_evaluates() -> None:
    data = FederatedData(
        {client: DATA[client] for client in ("0", "1")}, {"judge": DATA.test["2"], "1": DATA.test["1"]}
    )
    history = run(Evaluated(FedAvg(LOCAL, 2), Evaluation(MODEL)), data)
    for entry in history.entries:
        assert set(entry.outcomes) == ({"0", "1"} if entry.work == "train" else {"judge", "1"})


def test_a_fixed_evaluator_may_do_it_alone() -> None:
    history = run(Evaluated(FedAvg(LOCAL, 1), Evaluation(MODEL), sampler=FixedClients(["2"])))
    assert [set(entry.outcomes) for entry in history.evaluations()] == [{"2"}, {"2"}]


def test_evaluations_may_be_of_the_training_split() -> None:
    history = run(Evaluated(FedAvg(LOCAL, 1), Evaluation(MODEL, split="train"), split="train"))
    assert next(history.evaluations()).outcomes["0"].weight == len(DATA["0"])


def test_evaluating_takes_no_update_from_asynchronous_training() -> None:
    inner = FedAvg(LOCAL, 4, closing=Closing.first(1))
    plain, wrapped = run(inner), run(Evaluated(inner, Evaluation(MODEL), sampler=UniformSampler(1)))
    assert all(np.array_equal(wrapped.model[name], leaf) for name, leaf in plain.model.items())


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Evaluated(FedAvg(LOCAL, 1), Evaluation(MODEL), every=0), "every 1 or more rounds, not every 0"),
        (
            lambda: Evaluated(Evaluated(FedAvg(LOCAL, 1), Evaluation(MODEL)), Evaluation(MODEL)),
            "already has a work named 'evaluate'",
        ),
    ],
)
def test_evaluations_that_make_no_sense_are_refused(make: Callable[[], Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        make()
