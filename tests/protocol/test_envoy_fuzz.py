"""The Envoy's machine against whatever may happen, in any order, at any time: it never raises, and what is over stays over.

Beside the machine its facts are folded one by one; after every event that gives the state that the machine has, in all that is
durable. Half of the events are arbitrary; the others are such as would come next, so that all phases are reached. Now and then
the machine crashes between two effects, and goes on from its facts.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.ask import Status
from hansa.protocol import envoy, facts, messages, wire
from hansa.protocol.effects import Deliver, Discard, Forget, Record, Say, Work
from hansa.protocol.envoy import Envoy, Hears, JobPhase, Kept, TaskPhase
from hansa.protocol.messages import Blob, Consent
from hansa.testing.world.stories import Act, Next

RUNS = st.sampled_from(("r1", "r2", "unknown"))
ASKS = st.integers(0, 3)
BLOBS = st.integers(0, 5).map(lambda number: Blob(f"{number:064x}", number))
WHY = st.sampled_from(("", "why"))
STATUSES = st.sampled_from(Status)
CONSENTS = st.sampled_from(Consent)
CLIENTS = st.sampled_from(("b/0", "b/1"))


def acts(event: st.SearchStrategy[Any], kinds: tuple[str, ...]) -> st.SearchStrategy[list[Act]]:
    """A story."""
    following = st.builds(Next, st.sampled_from(kinds), st.integers(0, 5))
    crash = st.sampled_from((None,) * 12 + (0, 1, 2))
    return st.lists(st.builds(Act, event | following, st.sampled_from((0.0, 0.5, 7.0)), crash), max_size=40)


ASSIGNS = st.builds(
    messages.Assign,
    RUNS,
    ASKS,
    CLIENTS,
    st.just("train"),
    st.just(1),
    st.just(0),
    BLOBS,
    inputs=st.none() | BLOBS,
    previous=st.lists(st.builds(messages.Settled, RUNS, ASKS, CLIENTS, STATUSES), max_size=2).map(tuple),
)
HEARD = st.one_of(
    st.builds(messages.Welcome, st.just(1), st.just(10.0), st.just(0.0)),
    st.builds(messages.Offer, RUNS, BLOBS, st.just(b""), st.just(b"")),
    ASSIGNS,
    st.builds(messages.Settled, RUNS, ASKS, CLIENTS, STATUSES),
    st.builds(messages.Over, RUNS, WHY),
)
GIVEN = st.builds(
    facts.Answered,
    RUNS,
    ASKS,
    CLIENTS,
    st.none() | BLOBS,
    state=st.none() | BLOBS,
)
LOCAL = st.one_of(
    st.builds(Hears, HEARD),
    st.just(envoy.Cut()),
    st.just(envoy.Passes()),
    st.builds(envoy.Decided, RUNS, CONSENTS, WHY),
    st.builds(envoy.Prepared, RUNS, WHY),
    st.builds(envoy.Fetched, RUNS, ASKS, CLIENTS),
    st.builds(envoy.Worked, GIVEN),
    st.builds(envoy.Died, RUNS, ASKS, CLIENTS, WHY, st.booleans()),
)


class Owner:
    """An Envoy's machine; beside it its journal, and what is folded from that fact by fact."""

    def __init__(self) -> None:
        self.machine = Envoy()
        self.journal: list[Any] = []
        self.folded: dict[tuple[str, str], Kept] = {}
        self.answered: set[tuple[str, int, str]] = set()
        self.now = 0.0

    def act(self, act: Act) -> None:
        """Let something happen."""
        self.now += act.after
        event = upcoming(self.machine, act.event) if isinstance(act.event, Next) else act.event
        if event is None:
            return
        self.handle(event, act.crash)
        if act.crash is not None:
            self.machine = Envoy(self.journal)
            assert self.machine.kept == self.folded

    def handle(self, event: Any, most: int | None) -> None:
        refused = [run for run, job in self.machine.jobs.items() if job.phase is JobPhase.REFUSED]
        for effect in self.machine.handle(event, self.now)[:most]:
            self.done(effect)
        for run in refused:
            assert run not in self.machine.jobs or self.machine.jobs[run].phase is JobPhase.REFUSED
        if most is None:
            assert self.machine.kept == self.folded
        if isinstance(event, envoy.Passes):
            assert self.machine.wake > self.now

    def done(self, effect: Any) -> None:
        match effect:
            case Record(fact):
                assert wire.decode(wire.encode(fact)) == fact
                self.journal.append(fact)
                key, number = (fact.run, fact.client), str(fact.ask)
                if isinstance(fact, facts.Answered):
                    self.answered.add((fact.run, fact.ask, fact.client))
                    self.folded[key] = self.folded.get(key, Kept(None)).propose(number, fact)
                else:
                    self.folded[key] = self.folded[key].settle(number, fact.status)
            case Say(message):
                wire.encode(message)
            case Forget(run):
                self.journal = [fact for fact in self.journal if fact.run != run]
                self.folded = {key: kept for key, kept in self.folded.items() if key[0] != run}
                self.answered = {key for key in self.answered if key[0] != run}
            case Work(assign, state):
                assert (assign.run, assign.ask, assign.client) not in self.answered
                assert self.machine.jobs[assign.run].phase is JobPhase.READY
                kept = self.folded.get((assign.run, assign.client))
                assert state == (kept.current if kept is not None else None)
            case Deliver(result):
                assert (result.run, result.ask, result.client) in self.answered
            case Discard(_, names):
                assert not names & self.machine.needed().keys()

    def finish(self) -> None:
        again = Envoy(self.journal)
        assert (again.kept, again.settled) == (self.machine.kept, self.machine.settled)


def upcoming(machine: Envoy, what: Next) -> Any:
    """An event that would come next; None where there is none of that kind."""

    def picked(among: list[Any]) -> Any:
        return among[what.pick % len(among)] if among else None

    def task(phase: TaskPhase) -> Any:
        found = picked([task for task in machine.tasks.values() if task.phase is phase])
        return found and found.assign

    match what.kind:
        case "ready":
            job = picked([job for job in machine.jobs.values() if job.phase is not JobPhase.READY])
            if job is None:
                return Hears(messages.Offer(("r1", "r2")[what.pick % 2], Blob("0" * 64, 0), b"", b""))
            preparing = job.phase is JobPhase.PREPARING
            return envoy.Prepared(job.offer.run) if preparing else envoy.Decided(job.offer.run, Consent.READY)
        case "fetched":
            assign = task(TaskPhase.FETCHING)
            return assign and envoy.Fetched(assign.run, assign.ask, assign.client)
        case "worked":
            assign = task(TaskPhase.WORKING)
            update, state = Blob(f"{4:064x}", 4), Blob(f"{5:064x}", 5)
            return assign and envoy.Worked(facts.Answered(assign.run, assign.ask, assign.client, update, state=state))
        case "died":
            assign = task(TaskPhase.WORKING)
            return assign and envoy.Died(assign.run, assign.ask, assign.client, "why")
        case "settled":
            pending = [(*key, int(ask)) for key, kept in machine.kept.items() for ask in kept.pending]
            if not pending:
                return None
            run, client, ask = picked(pending)
            return Hears(messages.Settled(run, ask, client, tuple(Status)[what.pick % len(Status)]))
    return None


STAGES = ("new", "ready", "asked", "working", "answered")
"""How far a run and its client are when the story begins; from nothing a story seldom gets far."""


def at(stage: str) -> Owner:
    """An Envoy whose client b/0 is that far."""
    owner, reached = Owner(), STAGES.index(stage)
    owner.handle(Hears(messages.Welcome(1, math.inf, 0.0)), None)
    for _ in range(3 if reached >= 1 else 0):
        owner.handle(upcoming(owner.machine, Next("ready", 0)), None)
    if reached >= 2:
        owner.handle(Hears(messages.Assign("r1", 1, "b/0", "train", 1, 0, Blob("0" * 64, 0))), None)
    for kind in ("fetched", "worked")[: max(0, reached - 2)]:
        owner.handle(upcoming(owner.machine, Next(kind, 0)), None)
    return owner


@given(st.sampled_from(STAGES), acts(LOCAL, ("ready", "fetched", "worked", "died", "settled")))
@settings(max_examples=300)
def test_the_envoy_takes_whatever_happens(stage: str, story: list[Act]) -> None:
    owner = at(stage)
    for act in story:
        owner.act(act)
    owner.finish()


@pytest.mark.parametrize("last", [Status.UPDATED, Status.FAILED, Status.REJECTED, Status.DROPPED, Status.LATE])
def test_an_envoy_keeps_the_state_that_counted_over_a_restart(last: Status) -> None:
    owner = at("answered")
    owner.handle(Hears(messages.Settled("r1", 1, "b/0", last)), None)
    owner.finish()
    current = Envoy(owner.journal).kept["r1", "b/0"].current
    assert current == (Blob(f"{5:064x}", 5) if last is Status.UPDATED else None)
