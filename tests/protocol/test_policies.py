"""Rounds that do not wait: grace, over-selection, patience, retries, and a run that nobody is there for. Told by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hansa.core.ask import Status
from hansa.protocol.director import Concerns, Expels, HangsUp
from hansa.protocol.effects import Record, TellChild
from hansa.protocol.events import ChildEnds, Judges, Wants
from hansa.protocol.facts import Fate
from hansa.protocol.messages import Beat, Goodbye, Holding, Over, Result, Settled
from hansa.protocol.run import Phase
from hansa.testing.world.by_hand import Centre, blob, closed, running, sent

UPDATED, DROPPED = Status.UPDATED, Status.DROPPED


def fates(centre: Centre) -> tuple[Fate, ...]:
    """With which the present ask has closed."""
    found: tuple[Fate, ...] = centre.run.closed.fates
    return found


def population(effects: list[Any]) -> list[str] | None:
    """Who may be asked, if the Aggregator is told."""
    told = [
        effect.say["population"] for effect in effects if isinstance(effect, TellChild) and "population" in effect.say
    ]
    return told[0]["ids"] if told else None


def says(centre: Centre, ask: int, client: str) -> list[Any]:
    """A client answers; the gate has still to look at it."""
    return centre.says(client, Result("r", ask, client, blob(100)))


def judges(centre: Centre, ask: int, client: str) -> list[Any]:
    """The gate likes an answer."""
    return centre.handle(Concerns("r", Judges(ask, client, "")))


# --- a quorum


def test_a_quorum_closes_so_long_after_its_last_needed_update() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", count=2, grace=5.0)
    centre.now = 3.0
    centre.counts(1, "a")
    assert centre.machine.wake == math.inf
    centre.now = 10.0
    centre.counts(1, "b")
    assert centre.machine.wake == 15.0
    assert closed(centre.passes(4.9)) is None
    assert closed(centre.passes(0.1)) == {"a": "updated", "b": "updated", "c": "dropped"}


def test_who_answers_in_the_grace_counts_and_ends_it() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", count=2, grace=5.0)
    for client in "abc":
        centre.now += 1.0
        effects = centre.counts(1, client)
    assert closed(effects) == {"a": "updated", "b": "updated", "c": "updated"}


def test_the_deadline_closes_a_quorum_in_its_grace() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="quorum", count=1, deadline=10.0, grace=60.0)
    centre.now = 4.0
    centre.counts(1, "a")
    assert centre.machine.wake == 10.0
    assert closed(centre.passes(6.0)) == {"a": "updated", "b": "dropped"}


def test_without_grace_the_first_count_and_the_others_are_told() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", count=2, grace=0.0)
    centre.counts(1, "c")
    assert closed(centre.counts(1, "a")) == {"a": "updated", "b": "dropped", "c": "updated"}
    told = centre.tells(1, *fates(centre))
    assert Settled("r", 1, "b", DROPPED) in sent(told, Settled)


def test_an_answer_beyond_those_that_were_needed_is_late_in_the_order_in_which_they_came() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", count=2, grace=0.0)
    for client in "cab":
        says(centre, 1, client)
    for client in "ba":
        assert closed(judges(centre, 1, client)) is None, "nobody knows yet whether c, which came first, counts"
    assert closed(judges(centre, 1, "c")) == {"a": "updated", "b": "late", "c": "updated"}
    assert fates(centre)[1].why == "when it answered, the 2 updates that were needed had come"


def test_an_update_that_is_refused_is_not_one_of_those_that_were_needed() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", count=1, grace=5.0)
    centre.now = 2.0
    says(centre, 1, "a")
    assert closed(centre.handle(Concerns("r", Judges(1, "a", "it is not finite")))) is None
    assert centre.machine.wake == math.inf
    centre.now = 3.0
    centre.counts(1, "b")
    assert closed(centre.passes(5.0)) == {"a": "rejected", "b": "updated", "c": "dropped"}


def test_a_grace_ends_when_it_would_have_although_the_director_was_killed() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", count=1, grace=30.0)
    centre.now = 10.0
    centre.counts(1, "a")
    centre.now = 20.0
    centre.restarts()
    assert closed(judges(centre, 1, "a")) is None
    assert centre.machine.wake == 40.0
    centre.joins("b")
    centre.now = 39.0
    centre.counts(1, "b")
    assert closed(centre.passes(1.0)) == {"a": "updated", "b": "updated", "c": "dropped"}


def test_who_answers_after_the_grace_is_late_although_the_director_was_down_when_it_ended() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", count=1, grace=30.0)
    centre.now = 10.0
    centre.counts(1, "a")
    centre.now = 100.0
    centre.restarts()
    centre.joins("b")
    says(centre, 1, "b")
    assert closed(judges(centre, 1, "a")) == {"a": "updated", "b": "late", "c": "dropped"}
    assert fates(centre)[1].why.endswith("had come, and 30 s of grace were over")


def test_a_late_answer_is_told_so_however_often_it_comes_and_changes_nothing() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="quorum", count=1, grace=0.0)
    centre.counts(1, "a")
    centre.tells(1, *fates(centre))
    run = centre.run
    for _ in range(3):
        assert sent(says(centre, 1, "b"), Settled) == [Settled("r", 1, "b", DROPPED)]
    beat = Beat(0.0, ("r",), ("r",), (Holding("r", 1, "b", answered=True),))
    assert sent(centre.says("b", beat), Settled) == [Settled("r", 1, "b", DROPPED)]
    assert centre.run == run


# --- the first


def test_a_client_that_does_not_answer_is_dropped_so_that_another_is_asked() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first", count=2, patience=10.0)
    centre.now = 4.0
    centre.counts(1, "a")
    assert centre.machine.wake == 10.0
    assert closed(centre.passes(5.9)) is None
    assert closed(centre.passes(0.1)) == {"a": "updated", "b": "dropped"}
    assert fates(centre)[1].why == "it did not answer within 10 s"
    assert Settled("r", 1, "b", DROPPED) in sent(centre.tells(1, *fates(centre)), Settled)
    assert population(centre.handle(Concerns("r", Wants()))) == ["a", "b"]


def test_patience_counts_from_when_each_was_asked() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", kind="first", count=1, patience=10.0)
    centre.now = 6.0
    centre.counts(1, "a")
    centre.tells(1, *fates(centre))
    centre.asks("c", kind="first", count=1, patience=100.0)
    assert centre.machine.wake == 10.0
    centre.now = 12.0
    assert closed(centre.counts(2, "c")) == {"c": "updated", "b": "dropped"}


def test_while_nobody_has_answered_nobody_is_dropped() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first", count=2, patience=10.0)
    assert closed(centre.passes(1000.0)) is None
    assert centre.machine.wake == math.inf
    assert closed(centre.counts(1, "b")) == {"b": "updated", "a": "dropped"}


def test_patience_begins_anew_when_the_director_is_started_again() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first", count=2, patience=10.0)
    centre.counts(1, "a")
    centre.now = 500.0
    centre.restarts()
    assert centre.machine.wake == 510.0
    assert closed(judges(centre, 1, "a")) is None
    assert closed(centre.passes(10.0)) == {"a": "updated", "b": "dropped"}


def test_who_is_gone_is_dropped_and_takes_part_again_when_it_is_back() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first", count=2, patience=10.0)
    centre.handle(HangsUp("b", 1))
    centre.counts(1, "a")
    assert closed(centre.passes(10.0)) == {"a": "updated", "b": "dropped"}
    centre.tells(1, *fates(centre))
    assert population(centre.handle(Concerns("r", Wants()))) == ["a"]
    centre.greet("b", 2)
    assert sent(says(centre, 1, "b"), Settled) == [Settled("r", 1, "b", DROPPED)]
    assert population(centre.handle(Concerns("r", Wants()))) == ["a", "b"]


def test_who_was_dropped_and_is_seen_to_have_gone_later_is_not_asked_either() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first", count=2, patience=10.0)
    centre.counts(1, "a")
    centre.passes(10.0)
    centre.tells(1, *fates(centre))
    centre.handle(HangsUp("b", 1))
    assert population(centre.handle(Concerns("r", Wants()))) == ["a"]


def test_the_gate_is_told_how_many_examples_somebody_has_who_was_asked_long_ago() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first")
    centre.counts(1, "a")
    centre.tells(1, *fates(centre))
    centre.asks("a", kind="first")
    told = [effect.say["arrived"] for effect in says(centre, 1, "b") if isinstance(effect, TellChild)]
    assert [(each["client"], each["examples"]) for each in told] == [("b", 1)]


def test_nobody_need_be_asked_while_others_are_at_it() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first")
    centre.counts(1, "a")
    centre.tells(1, *fates(centre))
    assert closed(centre.asks(kind="first")) is None
    assert closed(centre.counts(1, "b")) == {"b": "updated"}


@pytest.mark.parametrize(("kind", "work"), [("first", "evaluate"), ("quorum", "train"), ("all", "train")])
def test_an_ask_of_nobody_with_nobody_at_it_ends_the_run_and_says_why(kind: Any, work: str) -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first")
    centre.counts(1, "a")
    centre.tells(1, *fates(centre))
    centre.asks(kind=kind, work=work)
    assert centre.run.phase is Phase.FAILED
    assert centre.run.why == f"round 1, work {work!r}: the ask names nobody, and nobody is at this work"


# --- nobody is there


def test_the_aggregator_is_told_who_may_be_asked_when_somebody_is_back() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="quorum", count=1, grace=0.0)
    centre.counts(1, "a")
    for envoy in ("a", "b"):
        centre.handle(HangsUp(envoy, 1))
    lost = (Fate(1, "a", DROPPED), Fate(1, "b", DROPPED))
    centre.tells(1, *lost)  # as if a had not answered either
    assert population(centre.handle(Concerns("r", Wants()))) is None
    assert centre.run.wanting == 0
    assert population(centre.greet("b", 2)) == ["b"]
    assert centre.run.wanting is None
    assert population(centre.greet("a", 2)) is None, "it was told, and does not ask again"


def two_of_three() -> Centre:
    """A run of which one Envoy is gone, and was dropped."""
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", count=2, grace=0.0)
    centre.counts(1, "a")
    centre.handle(HangsUp("c", 1))
    centre.counts(1, "b")
    centre.tells(1, *fates(centre))
    return centre


def test_where_those_who_are_there_are_too_few_more_are_awaited() -> None:
    centre = two_of_three()
    assert population(centre.handle(Concerns("r", Wants()))) == ["a", "b"]
    assert population(centre.handle(Concerns("r", Wants(2)))) is None
    assert population(centre.greet("c", 2)) == ["a", "b", "c"]


def test_where_nobody_is_to_be_expected_that_is_said_at_once() -> None:
    centre = two_of_three()
    centre.handle(Concerns("r", Wants(2)))
    assert population(centre.handle(Expels("c"))) == ["a", "b"]


def test_an_aggregator_that_died_while_it_waited_asks_anew() -> None:
    centre = running("a")
    centre.asks("a", kind="quorum", count=1, grace=0.0)
    centre.counts(1, "a")
    centre.handle(HangsUp("a", 1))
    centre.tells(1, Fate(1, "a", DROPPED))
    centre.handle(Concerns("r", Wants()))
    centre.handle(Concerns("r", ChildEnds("it was killed")))
    assert population(centre.greet("a", 2)) is None
    assert population(centre.handle(Concerns("r", Wants()))) == ["a"]


def test_a_run_that_nobody_takes_part_in_any_more_ends_and_says_why() -> None:
    centre = running("a")
    centre.asks("a", kind="quorum", count=1, grace=0.0)
    centre.counts(1, "a")
    centre.handle(HangsUp("a", 1))
    centre.tells(1, Fate(1, "a", DROPPED))
    centre.handle(Concerns("r", Wants()))
    centre.handle(Expels("a"))
    assert centre.run.phase is Phase.FAILED
    assert centre.run.why == "nobody takes part any more\na: its certificate was revoked"


# --- who says what it may not


def test_who_answers_for_another_is_sent_away_and_told_why() -> None:
    centre = running("a", "b")
    centre.asks("a", "b")
    effects = centre.says("a", Result("r", 1, "b", blob(100)))
    assert sent(effects, Goodbye) == [Goodbye("it answers for 'b', and may for itself only", again=False)]
    assert not [effect for effect in effects if isinstance(effect, Record)]


def test_who_was_not_asked_to_take_part_is_told() -> None:
    centre = running("a")
    centre.greet("stranger")
    effects = centre.says("stranger", Result("r", 1, "stranger", blob(100)))
    assert sent(effects, Over) == [Over("r", "it is not asked to take part")]
