"""Who lets an algorithm down again and again is left out for a while, and the History says who and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hansa.algorithms import Evaluated, FedAvg
from hansa.algorithms.dependable import Dependable, DependableState
from hansa.algorithms.fedbuff import FedBuff
from hansa.core.ask import Ask, Closing, Outcome, Reply, Status
from hansa.core.history import History
from hansa.core.ids import LazyIds, Numbered
from hansa.core.keys import key
from hansa.core.population import LazySizes, Population
from hansa.core.sampling import UniformSampler
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import CohortTooLarge, ConfigError
from hansa.experiment import Experiment
from hansa.experiment.snapshot import freeze, thaw
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining

MODEL = NumpyMLP((5, 3))
LOCAL = LocalTraining(MODEL, SGD(0.1), epochs=1)
START = MODEL.init(key(0))
FIVE = Population(tuple("abcde"), {"train": dict.fromkeys("abcde", 3)})
BAD = [Status.FAILED, Status.REJECTED, Status.DROPPED, Status.LATE]


def after(dependable: Dependable, state: DependableState, fates: Mapping[str, Status]) -> DependableState:
    """The state after a round in which these came to this; whoever is not named was not asked."""
    outcomes = {client: Outcome(status, "" if status is Status.UPDATED else "no") for client, status in fates.items()}
    change = {name: leaf * 0 for name, leaf in START.items()}
    return dependable.tell(state, Reply(change, outcomes=outcomes, work="train"))


def asked(dependable: Dependable, state: DependableState, population: Population = FIVE) -> Ask:
    ask = dependable.ask(state, population)
    assert ask is not None
    return ask


def averaging(**settings: Any) -> Dependable:
    return Dependable(FedAvg(LOCAL, 50, closing=Closing.quorum(1)), **settings)


@pytest.mark.parametrize("bad", BAD)
def test_three_in_a_row_and_a_client_rests(bad: Status) -> None:
    dependable = averaging(rest=2)
    state = dependable.start(START, 0)
    for _ in range(3):
        assert asked(dependable, state).cohort == tuple("abcde")
        state = after(dependable, state, {"a": Status.UPDATED, "b": bad})
    why = f"not asked until round 6: each of its last 3 asks came to nothing; the last one, {bad}: no"
    for _ in range(2):
        ask = asked(dependable, state)
        assert ask.cohort == tuple("acde")
        assert ask.left_out == {"b": why}
        state = after(dependable, state, {"a": Status.UPDATED})
    ask = asked(dependable, state)
    assert (ask.round, ask.cohort, ask.left_out) == (6, tuple("abcde"), {})


def test_one_good_update_is_forgiveness_and_who_was_not_asked_is_not_blamed() -> None:
    dependable = averaging(strikes=2)
    state = dependable.start(START, 0)
    for fate in (Status.LATE, Status.UPDATED, Status.LATE):
        state = after(dependable, state, {"a": fate})
    state = after(dependable, state, {"b": Status.UPDATED})
    assert asked(dependable, state).left_out == {}
    state = after(dependable, state, {"a": Status.FAILED})
    assert set(asked(dependable, state).left_out) == {"a"}


def test_who_has_rested_begins_anew() -> None:
    dependable = averaging(strikes=2, rest=1)
    state = dependable.start(START, 0)
    for _ in range(2):
        state = after(dependable, state, {"a": Status.LATE})
    state = after(dependable, state, {"b": Status.UPDATED})
    state = after(dependable, state, {"a": Status.LATE})
    assert asked(dependable, state).left_out == {}


def test_one_strike_may_be_enough_and_says_so() -> None:
    dependable = averaging(strikes=1, rest=3)
    state = after(dependable, dependable.start(START, 0), {"a": Status.DROPPED})
    assert asked(dependable, state).left_out == {
        "a": "not asked until round 5: its last ask came to nothing; the last one, dropped: no"
    }


def test_where_too_few_are_left_nobody_is_left_out() -> None:
    dependable = Dependable(FedAvg(LOCAL, 50, UniformSampler(5), closing=Closing.quorum(1)), strikes=1)
    state = after(dependable, dependable.start(START, 0), {"a": Status.LATE})
    ask = asked(dependable, state)
    assert (set(ask.cohort), ask.left_out) == (set("abcde"), {})
    four = FIVE.without({"e"})
    with pytest.raises(CohortTooLarge, match="a cohort of 5 is asked for, but only 4"):
        dependable.ask(state, four)


def test_who_could_not_be_asked_anyway_is_not_named() -> None:
    dependable = averaging(strikes=1)
    state = after(dependable, dependable.start(START, 0), {"a": Status.LATE, "b": Status.LATE})
    ask = asked(dependable, state, FIVE.without({"a"}))
    assert set(ask.left_out) == {"b"}


def test_a_population_that_nobody_lists_stays_so() -> None:
    seen: list[Population] = []

    class Looking(FedAvg):
        def ask(self, state: Any, population: Population) -> Ask | None:
            seen.append(population)
            return super().ask(state, population)

    ids = Numbered(10_000_000)
    everyone = Population(ids, {"train": LazySizes(ids, lambda client: 3)})
    dependable = Dependable(Looking(LOCAL, 9, UniformSampler(3), closing=Closing.quorum(1)), strikes=1)
    state = after(dependable, dependable.start(START, 0), {"7": Status.LATE})
    ask = asked(dependable, state, everyone)
    assert isinstance(seen[0].ids, LazyIds)
    assert len(seen[0]) == len(ids) - 1
    assert "7" not in seen[0].ids
    assert set(ask.left_out) == {"7"}


class Moody(LocalTraining):
    """A client called 2 whose work raises."""

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        if context.id == "2":
            raise RuntimeError("no")
        return super().__call__(broadcast, context)


@pytest.mark.parametrize("outside", [True, False])
def test_the_history_of_a_run_says_who_and_why(outside: bool) -> None:
    inner = FedAvg(Moody(MODEL, SGD(0.1), epochs=1), 8, closing=Closing.quorum(2))
    algorithm: Any = Dependable(inner, strikes=2, rest=3)
    algorithm = Evaluated(algorithm, Evaluation(MODEL))
    if outside:
        algorithm = Dependable(Evaluated(inner, Evaluation(MODEL), rounds=()), strikes=2, rest=3)
    history: History = Federation.simulate(blobs(4)).run(Experiment(MODEL, algorithm)).history
    trained = [entry for entry in history.entries if entry.work == "train"]
    assert [("2" in entry.outcomes, "2" in entry.left_out) for entry in trained] == [
        *[(True, False)] * 2,
        *[(False, True)] * 3,
        *[(True, False)] * 2,
        (False, True),
    ]
    assert "failed: RuntimeError: no" in trained[2].left_out["2"]


def test_it_goes_around_an_asynchronous_algorithm() -> None:
    inner = FedBuff(Moody(MODEL, SGD(0.1), epochs=1), 20, goal=2, concurrency=4)
    history = Federation.simulate(blobs(6)).run(Experiment(MODEL, Dependable(inner, strikes=1, rest=5))).history
    assert history.rounds == 20
    assert any("2" in entry.left_out for entry in history.entries)
    assert all("2" not in entry.outcomes for entry in history.entries if "2" in entry.left_out)


def test_its_state_can_be_written_down_and_read_back() -> None:
    dependable = averaging(strikes=2)
    state = dependable.start(START, 0)
    for fates in ({"a": Status.LATE, "b": Status.LATE}, {"a": Status.LATE}):
        state = after(dependable, state, fates)
    snapshot = freeze(state)
    back = thaw(snapshot.document, snapshot.trees)
    assert (back.strikes, back.resting) == (state.strikes, state.resting)
    assert set(back.resting) == {"a"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strikes": 0}, "a client rests after 1 or more asks that came to nothing, not after 0"),
        ({"rest": 0}, "a client rests for 1 or more rounds, not for 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        averaging(**settings)
    assert error.value.what == said
