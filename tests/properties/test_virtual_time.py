"""Virtual time: by a heap of events, written down once more, the same clients answer in the same order at the same time."""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.ask import Ask, Closing, Outcome, Reply
from hansa.core.ids import LazyIds, Numbered
from hansa.core.keys import key
from hansa.core.status import Status
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.data import ClientDataset, FederatedData
from hansa.rules import WeightedMean
from hansa.simulation import SequentialExecutor
from hansa.simulation.availability import Diurnal, Trace
from hansa.simulation.clock import VirtualClock
from hansa.simulation.dealt import Dealt

CLIENTS = tuple("abcdefgh")
DATA = FederatedData({client: ClientDataset({"x": np.zeros((1, 1), np.float32)}) for client in CLIENTS})
MODEL: Tree = {"w": np.zeros(2, np.float32)}

speeds = st.fixed_dictionaries({client: st.integers(0, 6).map(float) for client in CLIENTS})
"""Whole numbers, so that many arrive at once."""


def work(given: Tree, context: ClientContext) -> Update:
    return Update({"w": given["w"] + 1})


class Failing:
    """Fails the first so many times for each client."""

    def __init__(self, times: dict[str, int]) -> None:
        self.left = dict(times)

    def __call__(self, given: Tree, context: ClientContext) -> Update:
        if self.left.get(context.id, 0) > 0:
            self.left[context.id] -= 1
            raise OSError("not yet")
        return work(given, context)


def asked(cohort: tuple[str, ...], closing: Closing, round_: int = 1) -> Ask:
    return Ask("train", MODEL, cohort, WeightedMean(), round_, round_ - 1, closing=closing, form=MODEL)


def executor(clock: VirtualClock, train: Any = work, seed: int = 3) -> SequentialExecutor:
    return SequentialExecutor({"train": train}, DATA, seed, clock=clock)


def fates(reply: Reply) -> list[tuple[str, str]]:
    return [(client, outcome.status.value) for client, outcome in reply.outcomes.items()]


# --- asynchronous: who answers when


def by_a_heap(speeds: dict[str, float], goal: int, concurrency: int, rounds: int, patience: float) -> list[Any]:
    """Rounds that close on the first `goal`, clients drawn in turn: what happened in each, and when it ended."""
    heap: list[tuple[float, str, bool]] = []
    now, happened = 0.0, []
    for round_ in range(1, rounds + 1):
        at_work = {client for _, client, _ in heap}
        free = [client for client in CLIENTS if client not in at_work]
        drawn = key(0, round_).generator().permutation(len(free))[: concurrency - len(at_work)]
        for place in drawn:
            seconds = speeds[free[place]]
            heapq.heappush(heap, (now + min(seconds, patience), free[place], seconds <= patience))
        outcomes: list[tuple[str, str]] = []
        while heap and sum(status == "updated" for _, status in outcomes) < goal:
            ends, client, answers = heapq.heappop(heap)
            now = max(now, ends)
            outcomes.append((client, "updated" if answers else "dropped"))
        happened.append((now, outcomes, sorted(client for _, client, _ in heap)))
    return happened


@given(speeds, st.integers(1, 4), st.integers(4, 8), st.integers(1, 7))
def test_the_first_to_answer_are_those_of_a_heap(
    speeds: dict[str, float], goal: int, concurrency: int, patience: int
) -> None:
    executed, happened = executor(VirtualClock(compute=speeds)), []
    for round_ in range(1, 9):
        population = executed.population()
        flying = population.in_flight.get("train", 0)
        drawn = key(0, round_).generator().permutation(len(population))[: concurrency - flying]
        cohort = tuple(population.ids[place] for place in drawn)
        assert flying + len(cohort) <= concurrency
        before = executed.seconds()
        reply = executed.execute(asked(cohort, Closing.first(goal, patience=float(patience)), round_))
        assert executed.seconds() >= before
        at_work = sorted(set(CLIENTS) - set(executed.population().ids))
        happened.append((executed.seconds(), fates(reply), at_work))
    assert happened == by_a_heap(speeds, goal, concurrency, 8, float(patience))


# --- synchronous: when it closes


def closes(speeds: dict[str, float], closing: Closing, failures: dict[str, int]) -> tuple[float, list[tuple[str, str]]]:
    """What `Closing`'s docstring says of one ask of everyone, one event after the other."""
    tries = {client: min(failures[client], closing.retries) for client in speeds}
    ends = {client: seconds * (1 + tries[client]) for client, seconds in speeds.items()}
    good = {client for client in speeds if failures[client] <= closing.retries}
    order = sorted(speeds, key=lambda client: (ends[client], client))
    deadline = math.inf if closing.deadline is None else closing.deadline
    grace = math.inf if closing.grace is None else closing.grace
    outcomes: list[tuple[str, str]] = []
    updated, enough, now = 0, math.inf, 0.0
    for place, client in enumerate(order):
        end = min(max(enough, deadline), enough + grace)
        if (
            closing.kind == "quorum"
            and updated >= closing.count
            and (ends[client] > end or grace == 0 or deadline < enough)
        ):
            missed = [(each, "dropped") for each in order[place:]]
            return max(now, end), outcomes + missed
        now = ends[client]
        outcomes.append((client, "updated" if client in good else "failed"))
        updated += client in good
        if updated == closing.count and client in good:
            enough = now
    return now, outcomes


closings = st.just(Closing.all()) | st.builds(
    Closing.quorum,
    st.integers(1, 8),
    st.none() | st.integers(1, 8).map(float),
    grace=st.none() | st.integers(0, 4).map(float),
    retries=st.just(0),
)


@given(speeds, closings, st.fixed_dictionaries({client: st.sampled_from([0, 0, 0, 1]) for client in CLIENTS}))
def test_an_ask_closes_when_its_closing_says(
    speeds: dict[str, float], closing: Closing, failures: dict[str, int]
) -> None:
    executed = executor(VirtualClock(compute=speeds), Failing(failures))
    reply = executed.execute(asked(CLIENTS, closing))
    assert (executed.seconds(), fates(reply)) == closes(speeds, closing, failures)
    assert tuple(executed.population().ids) == CLIENTS


@given(
    st.permutations(range(1, 9)),
    st.just(Closing.all(retries=2))
    | st.builds(
        Closing.quorum,
        st.integers(1, 8),
        st.none() | st.integers(1, 20).map(float),
        grace=st.none() | st.floats(0.25, 8),
        retries=st.integers(1, 3),
    ),
    st.fixed_dictionaries({client: st.integers(0, 3) for client in CLIENTS}),
)
def test_whoever_tries_again_takes_as_long_again(
    durations: list[int], closing: Closing, failures: dict[str, int]
) -> None:
    speeds = {
        client: 1 + number / 97 for client, number in zip(CLIENTS, durations, strict=True)
    }  # no two ends are equal
    executed = executor(VirtualClock(compute=speeds), Failing(failures))
    reply = executed.execute(asked(CLIENTS, closing))
    now, outcomes = closes(speeds, closing, failures)
    came = sum(status != "dropped" for _, status in outcomes)
    assert fates(reply)[:came] == outcomes[:came]
    assert sorted(fates(reply)[came:]) == sorted(outcomes[came:]), "nobody knows when they would have come"
    assert math.isclose(executed.seconds(), now)


# --- devices that come and go: every visit ends once


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.floats(0.2, 1.0),
    st.floats(0, 0.5),
    st.sampled_from(
        [Closing.all(), Closing.quorum(2, 3.0), Closing.quorum(2, grace=0.5), Closing.first(2, patience=4.0)]
    ),
)
def test_every_visit_ends_once_and_time_never_goes_back(
    seed: int, share: float, dropout: float, closing: Closing
) -> None:
    clock = VirtualClock(availability=Diurnal(period=20.0, share=share), dropout=dropout, seed=seed, at_least=3)
    executed, begun, ended, now = executor(clock), 0, 0, 0.0
    for round_ in range(1, 30):
        population = executed.population()
        assert now <= executed.seconds()
        assert len(population) + sum(population.in_flight.values()) >= 3
        cohort = tuple(population.ids[: 4 - population.in_flight.get("train", 0)])
        reply = executed.execute(asked(cohort, closing, round_))
        begun, ended = begun + len(cohort), ended + len(reply.outcomes)
        flying = sum(len(each) for each in executed.state.in_flight.values())
        assert begun == ended + flying
        assert flying <= 4
        assert all(
            outcome == Outcome(Status.UPDATED, weight=1.0, staleness=outcome.staleness) or outcome.why
            for outcome in reply.outcomes.values()
        )
        now = executed.seconds()


# --- ids dealt into groups


@given(st.integers(0, 60), st.lists(st.booleans(), min_size=1, max_size=9), st.frozensets(st.integers(0, 60).map(str)))
def test_who_is_dealt_in_is_found_without_a_list(count: int, kept: list[bool], gone: frozenset[str]) -> None:
    ids = Numbered(count)
    dealt = Dealt(ids, np.array(kept))
    listed = tuple(each for place, each in enumerate(ids) if kept[place % len(kept)])
    assert tuple(dealt.at(place) for place in range(len(dealt))) == tuple(dealt) == listed
    assert [dealt.position(each) for each in ids] == [listed.index(each) if each in listed else None for each in ids]
    assert dealt.among(ids) is dealt
    assert tuple(dealt.among(gone)) == tuple(each for each in listed if each in gone)
    assert isinstance(dealt, LazyIds)


@given(
    st.fixed_dictionaries(
        {client: st.lists(st.integers(0, 30).map(float), max_size=6, unique=True) for client in CLIENTS[:3]}
    ),
    st.integers(-1, 31).map(float),
)
def test_a_trace_says_who_is_there(marks: dict[str, list[float]], now: float) -> None:
    times = {client: list(zip(sorted(each)[::2], sorted(each)[1::2], strict=False)) for client, each in marks.items()}
    presence = Trace(times).among(CLIENTS, 0)
    there = [client for client in CLIENTS if client not in times or any(a <= now < b for a, b in times[client])]
    assert list(presence.ids(now)) == there
    for client in CLIENTS:
        until = presence.until(client, now)
        assert until == next(
            (b for a, b in times.get(client, []) if a <= now < b), now if client in times else math.inf
        )
    coming = [a for pairs in times.values() for a, _ in pairs if a > now]
    assert presence.next(now) == min(coming, default=math.inf)
