"""A History against what its run took: rounds, seconds and bytes; when it was first so good, and what was for nothing."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from hansa.core.ask import Ask, Outcome
from hansa.core.comparison import compare
from hansa.core.gather import Gathered
from hansa.core.history import FEDERATED, VIRTUAL, Entry, History
from hansa.core.metrics import Mean, Metrics
from hansa.core.status import Status
from hansa.core.work import Update
from hansa.errors import ConfigError, UnknownName
from hansa.rules import WeightedMean
from hansa.simulation.intake import Answer, Intake


def evaluation(round_: int, accuracy: float, seconds: float = 0.0, model: str = FEDERATED) -> Entry:
    metrics = Metrics({"accuracy": Mean.of(accuracy)})
    return Entry(round_, "evaluate", round_, {"model": model}, metrics, {}, seconds, down=10)


def training(round_: int, seconds: float, up: int = 100, wasted: int = 0, *fates: str) -> Entry:
    outcomes = {str(number): Outcome(Status(fate), "because") for number, fate in enumerate(fates)}
    metrics = Metrics({"loss": Mean.of(1.0)})
    return Entry(round_, "train", round_ - 1, {}, metrics, outcomes, seconds, down=200, up=up, wasted=wasted)


HISTORY = History(
    (
        evaluation(0, 0.1, 0.5),
        training(1, 3.0, 100, 0, "updated", "updated", "dropped"),
        evaluation(1, 0.3, model="alice"),
        evaluation(1, 0.5),
        training(2, 6.0, 150, 50, "late", "updated", "rejected", "dropped", "failed"),
        evaluation(2, 0.75, 0.25),
    ),
    rounds=2,
)


def test_a_series_goes_over_rounds_or_all_the_seconds_or_bytes_until_then() -> None:
    assert HISTORY.series("accuracy") == HISTORY.series("accuracy", over="rounds") == [(0, 0.1), (1, 0.5), (2, 0.75)]
    assert HISTORY.series("accuracy", over="seconds") == [(0.5, 0.1), (3.5, 0.5), (9.75, 0.75)]
    assert HISTORY.series("accuracy", "alice", "seconds") == [(3.5, 0.3)]
    assert HISTORY.series("accuracy", over="bytes") == [(10, 0.1), (330, 0.5), (690, 0.75)]
    with pytest.raises(UnknownName, match="there is no measure of what a run takes 'second'"):
        HISTORY.series("accuracy", over="second")  # type: ignore[call-overload]  # the mistake that this is about


def test_when_a_model_was_first_so_good() -> None:
    assert HISTORY.reached("max accuracy", 0.5) == 1
    assert HISTORY.reached("max accuracy", 0.51, over="seconds") == 9.75
    assert HISTORY.reached("max accuracy", 0.5, "bytes") == 330
    assert HISTORY.reached("min accuracy", 0.3, "seconds") == 0.5
    assert HISTORY.reached("max accuracy", 0.3, "seconds", model="alice") == 3.5
    assert HISTORY.reached("max accuracy", 0.9) is None
    assert History((evaluation(0, math.nan), evaluation(1, 0.5))).reached("max accuracy", 0.1) == 1
    with pytest.raises(UnknownName, match="there is no metric 'f1'"):
        HISTORY.reached("max f1", 0.5)
    with pytest.raises(ConfigError):
        HISTORY.reached("accuracy", 0.5)


def test_what_was_for_nothing_is_counted_by_what_became_of_it() -> None:
    waste = HISTORY.wasted()
    assert waste.visits == {"failed": 1, "rejected": 1, "dropped": 2, "late": 1}
    assert (waste.of, waste.up, waste.share) == (8, 50, 5 / 8)
    assert (History().wasted().visits, History().wasted().share) == ({}, 0.0)


def test_refused_updates_have_come_for_nothing() -> None:
    form = {"w": np.zeros(3, np.float32)}
    ask = Ask("train", form, ("a", "b", "c"), WeightedMean(), 1, 0, form=form)
    good = Update({"w": np.ones(3, np.float32)})
    intake = Intake(ask)
    for client, given in {
        "a": good,
        "b": replace(good, tree={"w": np.full(3, np.nan, np.float32)}),
        "c": ValueError(),
    }.items():
        intake.take(Answer(client, given, 1, 0))
    reply = intake.gathered.reply()
    assert (reply.down, reply.up, reply.wasted) == (36, 24, 12)
    gathered = Gathered(replace(ask, form=None))
    gathered.add("a", Outcome(Status.UPDATED), good)
    misfit = gathered.add("b", Outcome(Status.UPDATED), replace(good, tree={"w": np.ones(5, np.float32)}))
    gathered.merge(intake.gathered)
    assert misfit.status is Status.REJECTED
    assert (gathered.reply().up, gathered.reply().wasted) == (12 + 20 + 24, 20 + 12)
    entry = Entry.of(ask, reply, 1.0)
    assert Entry.from_json(json.loads(json.dumps(entry.to_json()))).wasted == 12


def test_the_table_shows_the_time_where_it_is_virtual() -> None:
    virtual = replace(HISTORY, environment={"clock": VIRTUAL})
    assert [line.split() for line in virtual.table().splitlines()] == [
        ["round", "model", "seconds", "accuracy"],
        ["0", "federated", "0.5", "0.1000"],
        ["1", "alice", "3.5", "0.3000"],
        ["1", "federated", "3.5", "0.5000"],
        ["2", "federated", "9.8", "0.7500"],
    ]
    assert ">9.8<" in virtual._repr_html_()
    assert "seconds" not in HISTORY.table() + HISTORY._repr_html_()


# --- pictures


def axes_of(figure: Figure) -> list[tuple[str, str, list[Any]]]:
    """(what is below, what is at the side, the lines' points) of each panel."""
    figure.savefig(io.BytesIO(), format="png")  # what overlaps would be a warning
    return [
        (axes.get_xlabel(), axes.get_ylabel(), [np.asarray(line.get_xydata()).round(6).tolist() for line in axes.lines])
        for axes in figure.axes
    ]


def test_a_picture_goes_over_time_or_bytes_in_a_unit_that_people_read() -> None:
    ((below, side, (line,)),) = axes_of(HISTORY.plot("accuracy", model=FEDERATED, over="seconds"))
    assert (below, side, line) == ("seconds", "accuracy", [[0.5, 0.1], [3.5, 0.5], [9.75, 0.75]])
    long = History((evaluation(1, 0.5, 1800), evaluation(2, 0.6, 7200)), environment={"clock": VIRTUAL})
    assert axes_of(long.plot(over="seconds")) == [("virtual hours", "accuracy", [[[0.5, 0.5], [2.5, 0.6]]])]
    ((below, _, lines),) = axes_of(HISTORY.plot("loss", over="bytes"))
    assert (below, lines) == ("bytes sent and received", [[[310, 1.0], [680, 1.0]]])


def test_several_runs_are_compared_over_time_and_bytes_with_a_goal() -> None:
    other = History((evaluation(0, 0.2), replace(training(1, 4000.0), up=5_000_000), evaluation(1, 0.9)))
    figure = compare({"one": HISTORY, "other": other}, "accuracy", goal=0.7)
    (time, _, (_, other_line, line)), (size, _, (by_bytes, _, _)) = axes_of(figure)
    assert (time, size) == ("minutes", "MB sent and received")
    assert line == [[0.0, 0.7], [1.0, 0.7]]
    assert other_line == [[0.0, 0.2], [round(4000 / 60, 6), 0.9]]
    assert by_bytes[-1] == [0.00069, 0.75]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "other"]
    (only,) = axes_of(compare({"one": HISTORY}, "accuracy", "rounds"))
    assert only == ("round", "accuracy", [[[0, 0.1], [1, 0.5], [2, 0.75]]])


def test_what_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(UnknownName, match="there is no metric 'accuracy'"):
        compare({"one": HISTORY, "other": History((training(1, 1.0),))}, "accuracy")
    with pytest.raises(ConfigError, match="there is nothing to compare"):
        compare({}, "accuracy")
