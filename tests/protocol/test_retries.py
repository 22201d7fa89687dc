"""A work that fails is tried again at its Envoy, as often as the ask says; told by hand."""

from __future__ import annotations

from typing import Any

from hansa.core.ask import Status
from hansa.protocol.effects import Abort, Deliver, Record, Work
from hansa.protocol.envoy import Decided, Died, Envoy, Fetched, Hears, Prepared, Worked
from hansa.protocol.facts import Answered
from hansa.protocol.messages import Assign, Consent, Offer, Result, Settled, Welcome
from hansa.testing.world.by_hand import blob, running, sent

UPDATED, DROPPED = Status.UPDATED, Status.DROPPED


def assign(ask: int, retries: int) -> Assign:
    return Assign("r", ask, "a", "train", ask, 0, blob(ask), retries=retries)


def at_work(retries: int, facts: tuple[Any, ...] = ()) -> Envoy:
    """An Envoy whose client works at the second ask, after the first has counted."""
    envoy = Envoy(facts)
    envoy.handle(Hears(Welcome(1, 20.0, 0.0)), 0.0)
    envoy.handle(Hears(Offer("r", blob(1), b"", b"")), 0.0)
    envoy.handle(Decided("r", Consent.READY), 0.0)
    envoy.handle(Prepared("r"), 0.0)
    envoy.handle(Hears(assign(1, retries)), 0.0)
    envoy.handle(Fetched("r", 1, "a"), 0.0)
    envoy.handle(Worked(Answered("r", 1, "a", blob(50), state=blob(61))), 0.0)
    envoy.handle(Hears(Settled("r", 1, "a", UPDATED)), 0.0)
    envoy.handle(Hears(assign(2, retries)), 0.0)
    envoy.handle(Fetched("r", 2, "a"), 0.0)
    return envoy


RAISES = Worked(Answered("r", 2, "a", failure="ValueError: train.py:7"))


def delivered(effects: list[Any]) -> Result:
    """The answer that leaves, which was written down before."""
    record, deliver = effects[:2]
    assert isinstance(record, Record)
    assert isinstance(deliver, Deliver)
    assert record.fact.failure == deliver.result.failure
    return deliver.result


def test_a_work_that_fails_is_tried_again_from_the_same_state_and_with_the_same_key() -> None:
    envoy = at_work(retries=2)
    for _ in range(2):
        assert envoy.handle(RAISES, 0.0) == [Work(assign(2, 2), blob(61))]
    assert delivered(envoy.handle(RAISES, 0.0)).failure == "ValueError: train.py:7\nafter 3 attempts"


def test_a_work_that_fails_and_then_does_not_gives_its_update() -> None:
    envoy = at_work(retries=1)
    envoy.handle(RAISES, 0.0)
    answer = delivered(envoy.handle(Worked(Answered("r", 2, "a", blob(51))), 0.0))
    assert (answer.update, answer.failure) == (blob(51), "")


def test_without_retries_a_failure_is_what_it_was() -> None:
    assert delivered(at_work(retries=0).handle(RAISES, 0.0)).failure == "ValueError: train.py:7"


def test_what_would_fail_again_is_not_tried_again() -> None:
    died = Died("r", 2, "a", "the work exceeded its time limit of 60 s", final=True)
    assert delivered(at_work(retries=5).handle(died, 0.0)).failure == died.why


def test_whoever_is_dropped_while_it_tries_again_stops() -> None:
    envoy = at_work(retries=2)
    envoy.handle(RAISES, 0.0)
    assert Abort("r", 2, "a") in envoy.handle(Hears(Settled("r", 2, "a", DROPPED)), 0.0)
    assert envoy.handle(RAISES, 0.0) == []


def test_the_ask_says_how_often_to_try() -> None:
    centre = running("a")
    (asked,) = sent(centre.asks("a", retries=3), Assign)
    assert asked.retries == 3
