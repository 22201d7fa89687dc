"""Defects of the state machines that the simulation or a reader found: each as short as it can be told."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from hansa.core.ask import Status
from hansa.protocol.director import Begins, Concerns, Director, Expels, Greets, HangsUp, Passes, Submits
from hansa.protocol.effects import Fetch, Record, StartChild, TellChild, Work
from hansa.protocol.envoy import Decided, Envoy, Fetched, Hears, Prepared, Worked
from hansa.protocol.events import Fails, Judges, Wants
from hansa.protocol.facts import Accepted, Answered, Asked, Came, Fate, Parted, Started
from hansa.protocol.messages import (
    Answer,
    Assign,
    Beat,
    Consent,
    Hello,
    Holding,
    Offer,
    Over,
    Result,
    Settled,
    Welcome,
)
from hansa.protocol.run import Phase
from hansa.testing.world.by_hand import Centre, blob, running, sent

UPDATED, DROPPED = Status.UPDATED, Status.DROPPED


def test_that_an_update_counted_is_known_until_its_envoy_has_heard_it() -> None:
    centre = running("a", "b")
    centre.asks("a", "b")
    centre.counts(1, "a")
    centre.counts(1, "b")
    centre.handle(HangsUp("b", 1))  # and so never hears what became of its answer
    centre.tells(1, Fate(1, "a", UPDATED), Fate(1, "b", UPDATED))
    centre.asks("a", "b", kind="quorum", deadline=10.0)
    centre.counts(2, "a")
    centre.now = 11.0
    centre.handle(Passes())
    centre.tells(2, Fate(2, "a", UPDATED), Fate(2, "b", DROPPED))
    centre.greet("b", 2)
    beat = Beat(0.0, ("r",), ("r",), (Holding("r", 1, "b", answered=True),))
    assert Settled("r", 1, "b", UPDATED) in sent(centre.says("b", beat), Settled)


def test_that_an_update_counted_is_said_with_the_next_assignment() -> None:
    centre = running("a", "b")
    centre.asks("a", "b")
    centre.counts(1, "a")
    centre.counts(1, "b")
    centre.tells(1, Fate(1, "a", UPDATED), Fate(1, "b", UPDATED))
    centre.asks("a", "b", kind="quorum", deadline=10.0)
    centre.counts(2, "a")
    centre.now = 11.0
    centre.handle(Passes())
    centre.tells(2, Fate(2, "a", UPDATED), Fate(2, "b", DROPPED))
    (assign,) = [each for each in sent(centre.asks("a", "b"), Assign) if each.client == "b"]
    assert Settled("r", 1, "b", UPDATED) in assign.previous


def test_a_crash_while_an_envoy_parts_loses_no_failure() -> None:
    centre = running("a")
    centre.asks("a")
    centre.says("a", Answer("r", Consent.REFUSED, "no"), crash_before=Came)
    assert isinstance(centre.journal[-1], Parted)
    centre.greet("a", 2)
    centre.says("a", Answer("r", Consent.REFUSED, "no"))
    assert centre.run.visits[1, "a"].came is not None


def test_a_run_begins_when_the_one_who_had_not_decided_leaves() -> None:
    centre = Centre()
    centre.submit()
    centre.greet("b")
    centre.joins("a")
    assert centre.run.phase is Phase.GATHERING  # b has still to say
    assert StartChild("r") in centre.handle(HangsUp("b", 1))


def test_a_run_begins_after_a_crash_just_before_it() -> None:
    centre = Centre()
    centre.submit()
    centre.greet("a")
    assert StartChild("r") in centre.says("a", Answer("r", Consent.READY), crash_before=Started)


@pytest.mark.parametrize("clients", [("nobody",), ("a", "a"), ("a", "nobody")])
def test_a_child_that_asks_for_whom_it_may_not_fails_its_own_run_only(clients: tuple[str, ...]) -> None:
    centre = running("a")
    centre.asks(*clients)
    assert centre.run.phase is Phase.FAILED


def test_a_child_that_asks_for_a_client_in_flight_fails_its_run() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first")
    centre.counts(1, "a")
    centre.tells(1, Fate(1, "a", UPDATED))
    centre.asks("a", "b", kind="first")
    assert centre.run.phase is Phase.FAILED


@pytest.mark.parametrize("clients", [("nobody",), ("a", "nobody"), ()])
def test_a_child_that_tells_of_other_visits_fails_its_own_run_only(clients: tuple[str, ...]) -> None:
    centre = running("a")
    centre.asks("a")
    centre.counts(1, "a")
    centre.tells(1, *(Fate(1, client, UPDATED) for client in clients))
    assert centre.run.phase is Phase.FAILED


def test_time_that_has_passed_is_not_awaited_again() -> None:
    centre = running("a")
    centre.asks("a", kind="quorum", deadline=10.0)
    centre.now = centre.machine.wake
    centre.handle(Passes())
    assert centre.machine.wake > centre.now


def test_the_deadline_of_a_closed_ask_is_not_awaited() -> None:
    centre = running("a")
    centre.asks("a", kind="quorum", deadline=10.0)
    centre.counts(1, "a")
    assert centre.machine.wake == math.inf


def test_patience_that_is_over_is_not_awaited_again() -> None:
    centre = Centre(patience=60.0)
    centre.submit(at_least=2)
    centre.joins("a")
    centre.now = centre.machine.wake
    centre.handle(Passes())
    assert centre.machine.wake > centre.now


def test_an_envoy_that_has_not_said_whether_it_takes_part_is_asked_again() -> None:
    centre = Centre()
    centre.submit()
    centre.greet("a")
    assert sent(centre.says("a", Beat(0.0, ("r",))), Offer)


@pytest.mark.parametrize("forgotten", [False, True])
def test_an_envoy_that_works_for_a_run_that_is_over_is_told(forgotten: bool) -> None:
    centre = running("a")
    centre.handle(Concerns("r", Fails("why")))
    if forgotten:
        del centre.machine.runs["r"]
    beat = Beat(0.0, (), (), (Holding("r", 1, "a", answered=False),))
    assert sent(centre.says("a", beat), Over)


def test_an_answer_that_came_in_time_is_judged_before_the_deadline_counts() -> None:
    centre = running("a", "b", "c")
    centre.asks("a", "b", "c", kind="quorum", deadline=10.0)
    centre.counts(1, "a")
    centre.says("b", Result("r", 1, "b", blob(101)))
    centre.now = 10.0
    centre.handle(Passes())
    effects = centre.handle(Concerns("r", Judges(1, "b", "")))
    (close,) = [effect.say["close"] for effect in effects if isinstance(effect, TellChild)]
    assert [fate[1:3] for fate in close["fates"]] == [["a", "updated"], ["b", "updated"], ["c", "dropped"]]


def test_the_broadcast_of_a_closed_ask_goes_when_its_last_answer_has_come() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="first")
    centre.counts(1, "a")
    centre.says("b", Result("r", 1, "b", blob(102)))
    centre.tells(1, Fate(1, "a", UPDATED))
    assert blob(3).sha256 not in centre.run.needed()


def test_an_envoy_that_has_joined_is_heard_whatever_its_labels_are_now() -> None:
    centre = Centre()
    files = blob(1), b"", b"", blob(2)
    centre.handle(Submits(Accepted("r", "key", "user", "name", *files, labels={"gpu": "yes"})))
    clients = json.dumps({"a": {"train": 1}})
    centre.sessions["a"] = 1
    centre.handle(Greets("a", 1, Hello((1,), "", 0.0, "", {"gpu": "yes"}), clients))
    centre.says("a", Answer("r", Consent.READY))
    centre.asks("a")
    centre.handle(Greets("a", 2, Hello((1,), "", 0.0, ""), clients))
    centre.sessions["a"] = 2
    assert sent(centre.says("a", Beat(0.0, ("r",))), Assign)


# --- the Envoy's


def assign(ask: int, previous: tuple[Settled, ...] = ()) -> Assign:
    return Assign("r", ask, "a", "train", ask, 0, blob(ask), previous=previous)


def ready() -> Envoy:
    """An Envoy that takes part in a run."""
    envoy = Envoy()
    envoy.handle(Hears(Welcome(1, 20.0, 0.0)), 0.0)
    envoy.handle(Hears(Offer("r", blob(1), b"", b"")), 0.0)
    envoy.handle(Decided("r", Consent.READY), 0.0)
    envoy.handle(Prepared("r"), 0.0)
    return envoy


def answers(envoy: Envoy, ask: int) -> list[Any]:
    """Asked, it answers; the facts that it writes."""
    effects = envoy.handle(Hears(assign(ask)), 0.0)
    effects += envoy.handle(Fetched("r", ask, "a"), 0.0)
    effects += envoy.handle(Worked(Answered("r", ask, "a", blob(50), state=blob(60 + ask))), 0.0)
    return [effect.fact for effect in effects if isinstance(effect, Record)]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_answered_and_settled_is_not_computed_again(restarted: bool) -> None:
    envoy = ready()
    facts = answers(envoy, 1)
    facts += [e.fact for e in envoy.handle(Hears(Settled("r", 1, "a", UPDATED)), 0.0) if isinstance(e, Record)]
    if restarted:
        envoy = Envoy(facts)
    effects = envoy.handle(Hears(assign(1)), 0.0)
    assert not [effect for effect in effects if isinstance(effect, (Fetch, Work))]


def test_an_expulsion_that_a_crash_cut_short_is_completed_by_the_next() -> None:
    centre = running("a")
    centre.asks("a")
    centre.handle(Expels("a"), crash_before=Came)
    centre.handle(Expels("a"))
    assert centre.run.visits[1, "a"].came is not None


def test_wants_is_answered_with_what_was_asked_until_it_is_told() -> None:
    centre = running("a", "b")
    centre.asks("a", "b")
    assert isinstance(centre.journal[-1], Asked)
    centre.handle(HangsUp("a", 1))
    (told,) = centre.handle(Concerns("r", Wants()))
    assert told.say["population"]["ids"] == ["a", "b"]


def test_an_envoy_whose_environment_cannot_be_made_works_at_nothing() -> None:
    envoy = Envoy()
    envoy.handle(Hears(Welcome(1, 20.0, 0.0)), 0.0)
    envoy.handle(Hears(Offer("r", blob(1), b"", b"")), 0.0)
    envoy.handle(Decided("r", Consent.READY), 0.0)
    envoy.handle(Hears(assign(1)), 0.0)  # it had joined before it was started again
    envoy.handle(Fetched("r", 1, "a"), 0.0)
    effects = envoy.handle(Prepared("r", "a package is missing"), 0.0)
    assert not [effect for effect in effects if isinstance(effect, Work)]


def test_a_deadline_that_another_event_overtakes_is_not_missed() -> None:
    centre = running("a", "b")
    centre.asks("a", "b", kind="quorum", deadline=10.0)
    centre.counts(1, "a")
    centre.now = (
        10.5  # the time that was awaited; something else is looked at first, and after that it is awaited no more
    )
    effects = centre.greet("c")
    assert [effect.say["close"]["ask"] for effect in effects if isinstance(effect, TellChild)] == [1]
    assert centre.machine.wake == math.inf


def test_the_end_of_patience_that_another_event_overtakes_is_not_missed() -> None:
    centre = Centre(patience=60.0)
    centre.submit()
    centre.greet("b")
    centre.joins("a")  # b has still to say
    centre.now = 60.5
    assert StartChild("r") in centre.greet("c")


def test_patience_that_ended_while_the_director_was_down_is_seen_at_its_start() -> None:
    centre = Centre(patience=60.0)
    centre.submit()
    centre.greet("b")
    centre.joins("a")
    centre.machine, centre.now = Director(centre.journal, patience=60.0), 61.0
    assert StartChild("r") in centre.handle(Begins())
