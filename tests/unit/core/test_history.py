"""A History is read by metric and model, and survives JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hansa.core.ask import Ask, Outcome, Reply, Status
from hansa.core.history import FEDERATED, Entry, History
from hansa.core.metrics import ConfusionMatrix, Mean, Metrics, Sum
from hansa.core.work import Scalar
from hansa.errors import ConfigError, UnknownName
from hansa.rules import WeightedMean


def evaluation(round_: int, accuracy: float, model: str = FEDERATED) -> Entry:
    return Entry(round_, "evaluate", round_, {"model": model}, Metrics({"accuracy": Mean.of(accuracy, 10)}), {})


def training(round_: int) -> Entry:
    outcomes = {
        "alice": Outcome(Status.UPDATED, weight=3.0, metrics=Metrics({"loss": Mean.of(0.1, 3)})),
        "bob": Outcome(Status.REJECTED, "leaf 'w' is not finite", metrics=Metrics({"loss": Mean.of(math.nan, 2)})),
        "carol": Outcome(Status.FAILED, "ValueError: é", cause=ValueError("é")),
    }
    metrics = Metrics({"loss": Mean.of(0.1, 3), "n": Sum.of(3), "confusion": ConfusionMatrix(((1, 2), (3, 4)))})
    settings: dict[str, Scalar] = {
        "rate": 0.1,
        "name": "x",
        "flag": True,
        "count": 3,
        "mask": b"\x00\xff",
        "nothing": b"",
    }
    return Entry(round_, "train", round_ - 1, settings, metrics, outcomes, 0.25)


HISTORY = History(
    (
        evaluation(0, 0.1),
        training(1),
        evaluation(1, 0.4, "alice"),
        evaluation(1, 0.5),
        training(2),
        evaluation(2, 0.75),
    ),
    {"w": np.ones(2)},
    rounds=2,
    seed=7,
    environment={"python": "3.11", "simd": ""},
)


def test_a_series_is_of_one_metric_of_one_model() -> None:
    assert HISTORY.series("accuracy") == [(0, 0.1), (1, 0.5), (2, 0.75)]
    assert HISTORY.series("accuracy", "alice") == [(1, 0.4)]
    assert HISTORY.series("loss") == [], "what was measured in training is no evaluation"
    assert HISTORY.final("accuracy") == 0.75
    assert HISTORY.final("accuracy", "alice") == 0.4


def test_evaluations_are_those_entries_that_name_a_model() -> None:
    assert [(e.round, e.settings["model"]) for e in HISTORY.evaluations()] == [
        (0, FEDERATED),
        (1, "alice"),
        (1, FEDERATED),
        (2, FEDERATED),
    ]
    assert [e.round for e in HISTORY.evaluations(FEDERATED)] == [0, 1, 2]


def test_a_metric_that_was_never_measured_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName, match="no metric 'acuracy'"):
        HISTORY.final("acuracy")


def test_a_metric_that_was_never_measured_is_named_with_those_that_were() -> None:
    with pytest.raises(UnknownName) as caught:
        HISTORY.final("acuracy")
    assert "accuracy" in caught.value.hint


def test_the_table_has_a_line_for_each_round_and_model() -> None:
    lines = HISTORY.table().splitlines()
    assert len(lines) == 5
    assert lines[0].split() == ["round", "model", "accuracy"]
    assert [line.split() for line in lines[1:]] == [
        ["0", "federated", "0.1000"],
        ["1", "alice", "0.4000"],
        ["1", "federated", "0.5000"],
        ["2", "federated", "0.7500"],
    ]
    assert len({line.rindex("0.") + 6 for line in lines[1:]}) == 1, "numbers stand below each other"
    assert History().table().split() == ["round", "model"]


def test_a_history_survives_json_but_for_the_model_and_causes() -> None:
    text = json.dumps(HISTORY.to_json(), allow_nan=False)
    back = History.from_json(json.loads(text), HISTORY.model)
    assert json.dumps(back.to_json()) == text
    assert back.model is HISTORY.model
    assert (back.rounds, back.seed, back.mode, back.environment) == (2, 7, "reference", HISTORY.environment)
    entry = back.entries[1]
    assert entry.settings == HISTORY.entries[1].settings
    assert [type(value) for value in entry.settings.values()] == [float, str, bool, int, bytes, bytes]
    assert entry.metrics == HISTORY.entries[1].metrics
    assert entry.outcomes["alice"] == HISTORY.entries[1].outcomes["alice"]
    assert entry.outcomes["carol"].cause is None
    assert [outcome.status for outcome in entry.outcomes.values()] == [Status.UPDATED, Status.REJECTED, Status.FAILED]
    assert back.series("accuracy") == HISTORY.series("accuracy")


def test_an_entry_tells_of_its_ask_and_reply() -> None:
    ask = Ask("train", {}, ("a",), WeightedMean(), round=3, version=2, settings={"rate": 0.5})
    reply = Reply({}, Metrics({"n": Sum.of(1)}), {"a": Outcome(Status.UPDATED, weight=2.0)}, "train")
    entry = Entry.of(ask, reply, 1.5)
    assert (entry.round, entry.work, entry.version, entry.seconds) == (3, "train", 2, 1.5)
    assert entry.settings == {"rate": 0.5}
    assert (entry.metrics, entry.outcomes) == (reply.metrics, reply.outcomes)


def test_extending_a_history_leaves_it_as_it_was() -> None:
    longer = HISTORY.extended(training(3), {"w": np.zeros(2)}, 3)
    assert (len(HISTORY.entries), HISTORY.rounds) == (6, 2)
    assert (len(longer.entries), longer.rounds, longer.seed) == (7, 3, 7)
    assert "3 rounds, 7 asks, seed=7, reference mode, accuracy=0.75" in repr(longer)


def test_best_is_the_way_that_is_said_whatever_the_metric_is_called() -> None:
    def entry(round_: int, loss: float) -> Entry:
        metrics = Metrics({"loss": Mean.of(loss)})
        return Entry(round_, "evaluate", round_, {"model": FEDERATED}, metrics, {})

    history = History(tuple(entry(n, loss) for n, loss in enumerate([2.0, 0.5, math.nan, 0.5, 1.0])))
    assert history.best("min loss") == (1, 0.5)
    assert history.best("max loss") == (0, 2.0)
    for nonsense in ("loss", "lowest loss", "min"):
        with pytest.raises(ConfigError):
            history.best(nonsense)
    with pytest.raises(UnknownName):
        history.best("max accuracy")
    with pytest.raises(UnknownName):
        History((entry(0, math.nan),)).best("min loss")
