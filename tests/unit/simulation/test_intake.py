"""Many small updates taken at once are judged and summed as one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.core.ask import Ask, Outcome, Reply, Status
from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.rules import Both, Collect, WeightedMean
from hansa.rules.compose import ByPrefix, rounding
from hansa.simulation.intake import Answer, Intake

FORM: Tree = {"w": np.zeros((2, 3), np.float32), "count": np.zeros((), np.int64)}


def update(number: int, fate: str) -> object:
    good = Update(
        {"w": np.full((2, 3), number / 8, np.float32), "count": np.array(number)},
        float(1 + number % 5),
        Metrics({"loss": Mean.of(number, 1)}),
    )
    bad = {
        "raises": ValueError("no"),
        "nan": replace(good, tree={**good.tree, "w": np.full((2, 3), np.nan, np.float32)}),
        "shape": replace(good, tree={**good.tree, "w": np.zeros(3, np.float32)}),
        "dtype": replace(good, tree={**good.tree, "w": np.zeros((2, 3))}),
        "leaves": replace(good, tree={"w": good.tree["w"]}),
        "weight": replace(good, weight=-1.0),
        "heavy": replace(good, weight=1e9),
        "state": replace(good, state={"s": np.array(number)}),
        "whole weight": replace(good, weight=2),
        "metric": replace(good, metrics=Metrics()),
        "nothing": None,
    }
    return bad.get(fate, good)


FATES = st.sampled_from(
    ["good"] * 8
    + ["raises", "nan", "shape", "dtype", "leaves", "weight", "heavy", "state", "whole weight", "metric", "nothing"]
)


def taken(fates: list[str], *, many: bool) -> tuple[Reply, list[tuple[str, Outcome]]]:
    ask = Ask("train", FORM, tuple(map(str, range(len(fates)))), WeightedMean(exact=False), 1, 0, form=FORM)
    intake = Intake(ask, many=many)
    answers = (Answer(str(number), update(number, fate), 10, 0) for number, fate in enumerate(fates))
    settled = [each for some in intake.take_all(answers) for each in some]
    return intake.gathered.reply(), [(answer.client, outcome) for answer, outcome in settled]


@given(st.lists(FATES, min_size=1, max_size=40))
def test_many_at_once_are_taken_as_one_by_one(fates: list[str]) -> None:
    (alone, settled), (together, stateful) = taken(fates, many=False), taken(fates, many=True)
    assert [each for each in settled if fates[int(each[0])] == "state"] == [
        each for each in stateful if fates[int(each[0])] == "state"
    ]
    assert list(alone.outcomes.items()) == list(together.outcomes.items())
    assert alone.metrics == together.metrics
    assert alone.aggregate.keys() == together.aggregate.keys()
    for name, leaf in alone.aggregate.items():
        assert leaf.dtype == together.aggregate[name].dtype
        np.testing.assert_allclose(leaf, together.aggregate[name], rtol=1e-5, atol=1e-6)


def test_bad_ones_among_good_ones_have_their_reasons() -> None:
    reply, settled = taken(["good", "nan", "good", "raises"], many=True)
    assert [client for client, _ in settled] == ["0", "1", "2", "3"]
    assert [str(outcome.status) for _, outcome in settled] == ["updated", "rejected", "updated", "failed"]
    assert "not finite" in reply.outcomes["1"].why
    assert reply.outcomes["3"].why == "ValueError: no"


@pytest.mark.parametrize("rule", [Collect(), Both(WeightedMean(), Collect())], ids=["collect", "both"])
def test_a_rule_that_takes_one_at_a_time_gets_one_at_a_time(rule: Collect | Both) -> None:
    ask = Ask("train", FORM, ("0", "1"), rule, 1, 0, form=FORM)
    intake = Intake(ask, many=True)
    taken = list(intake.take_all(Answer(client, update(1, "good"), 10, 0) for client in ask.cohort))
    assert [[(answer.client, outcome.status) for answer, outcome in some] for some in taken] == [
        [("0", Status.UPDATED)],
        [("1", Status.UPDATED)],
    ]


def test_pushed_one_by_one_they_wait_until_there_are_many() -> None:
    ask = Ask("train", FORM, ("0", "1"), WeightedMean(exact=False), 1, 0, form=FORM)
    intake = Intake(ask, many=True)
    assert [intake.take(Answer(client, update(1, "good"), 10, 0)) for client in ask.cohort] == [[], []]
    assert intake.gathered.updates == 0
    assert [(answer.client, outcome.status) for answer, outcome in intake.flush()] == [
        ("0", Status.UPDATED),
        ("1", Status.UPDATED),
    ]


def test_rounding_reaches_the_means_inside_other_rules() -> None:
    loose = WeightedMean(equal=True, exact=False)
    assert rounding(Both(WeightedMean(equal=True), Collect())) == Both(loose, Collect())
    assert rounding(ByPrefix({"a": WeightedMean(equal=True)})) == ByPrefix({"a": loose})
