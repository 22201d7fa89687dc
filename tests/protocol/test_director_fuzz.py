"""The Director's machine against whatever may happen, in any order, at any time: it never raises, and what is over stays over.

Beside the machine its facts are folded one by one; after every event that gives the state that the machine has, in all that is
durable. Half of the events are arbitrary; the others are such as would come next, so that all phases are reached. Now and then
the machine crashes between two effects, and goes on from its facts.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.ask import Closing, Kind, Status
from hansa.protocol import director, events, facts, messages, running, wire
from hansa.protocol.director import Concerns, Director, Greets, Says, Submits
from hansa.protocol.effects import Discard, Forget, Record, Send
from hansa.protocol.messages import Blob, Consent
from hansa.protocol.run import Phase, Run, apply, begun, restored
from hansa.testing.world.checks import durable
from hansa.testing.world.stories import Act, Next

HOMES = {"a": ("a",), "b": ("b/0", "b/1"), "c": ("c",)}
RUNS = st.sampled_from(("r1", "r2", "unknown"))
ENVOYS = st.sampled_from(tuple(HOMES))
CLIENTS = st.sampled_from(("a", "b/0", "b/1", "c", "nobody"))
ASKS = st.integers(0, 3)
_SECONDS = st.none() | st.floats(0.5, 10)
CLOSINGS = st.builds(
    Closing,
    st.sampled_from(get_args(Kind)),
    st.integers(1, 3),
    _SECONDS,
    grace=_SECONDS,
    patience=_SECONDS,
    retries=st.integers(0, 1),
)
BLOBS = st.integers(0, 5).map(lambda number: Blob(f"{number:064x}", number))
WHY = st.sampled_from(("", "why"))
STATUSES = st.sampled_from(Status)
CONSENTS = st.sampled_from(Consent)


def sizes(name: str) -> str:
    """How many examples the clients of an Envoy have."""
    return json.dumps({client: {"train": 10} for client in HOMES[name]})


def acts(event: st.SearchStrategy[Any], kinds: tuple[str, ...]) -> st.SearchStrategy[list[Act]]:
    """A story."""
    following = st.builds(Next, st.sampled_from(kinds), st.integers(0, 5))
    crash = st.sampled_from((None,) * 12 + (0, 1, 2))
    return st.lists(st.builds(Act, event | following, st.sampled_from((0.0, 0.5, 7.0)), crash), max_size=40)


# --- the Director


def fates() -> st.SearchStrategy[tuple[facts.Fate, ...]]:
    return st.lists(st.builds(facts.Fate, ASKS, CLIENTS, STATUSES, WHY), max_size=3).map(tuple)


HOLDINGS = st.lists(st.builds(messages.Holding, RUNS, ASKS, CLIENTS, st.booleans()), max_size=3).map(tuple)
NAMES = st.lists(RUNS, max_size=2).map(tuple)
BEATS = st.builds(messages.Beat, st.floats(0, 100), NAMES, NAMES, HOLDINGS)
ANSWERS = st.builds(messages.Answer, RUNS, CONSENTS, WHY)
RESULTS = st.builds(messages.Result, RUNS, ASKS, CLIENTS, st.none() | BLOBS, st.just(1.0), st.just("{}"), WHY)


def told(run: str) -> st.SearchStrategy[facts.Told]:
    trees = st.lists(BLOBS, min_size=1, max_size=2).map(tuple)
    return st.builds(facts.Told, st.just(run), ASKS, fates(), st.just("{}"), st.integers(0, 3), BLOBS, trees, BLOBS)


def of_run(run: str) -> st.SearchStrategy[Any]:
    """Any event of a run."""
    parts = st.lists(st.tuples(CLIENTS, st.just("{}"), st.none() | BLOBS), max_size=4, unique_by=lambda part: part[0])
    asks = st.builds(
        events.Asks,
        st.sampled_from(("train", "judge")),
        st.integers(1, 2),
        st.integers(0, 2),
        CLOSINGS,
        BLOBS,
        parts.map(tuple),
    )
    return st.one_of(
        st.builds(events.Release, WHY),
        st.builds(events.Withhold, WHY),
        st.just(events.Slot()),
        ENVOYS.map(lambda name: events.Arrives(name, sizes(name))),
        st.builds(events.Leaves, ENVOYS),
        st.builds(events.Expelled, ENVOYS),
        st.tuples(ENVOYS, CONSENTS, WHY).map(
            lambda said: events.Consents(said[0], messages.Answer(run, *said[1:]), sizes(said[0]))
        ),
        st.builds(events.Answers, ENVOYS, RESULTS.map(lambda result: replace(result, run=run))),
        st.builds(events.Beats, ENVOYS, BEATS),
        st.builds(events.Wants, st.integers(0, 2)),
        asks,
        st.builds(events.Judges, ASKS, CLIENTS, WHY),
        st.builds(events.Tells, told(run)),
        st.just(events.Finishes()),
        st.builds(events.Fails, WHY, st.just(""), st.none() | BLOBS),
        st.builds(events.ChildEnds, WHY),
        st.builds(events.Cancel, WHY),
        st.builds(events.Share, WHY),
        st.just(events.Tick()),
        st.just(events.Restarts()),
    )


def submission(run: str, *, held: bool = False, chosen: tuple[str, ...] = (), at_least: int = 1) -> facts.Accepted:
    first, second = Blob("0" * 64, 0), Blob(f"{1:064x}", 1)
    return facts.Accepted(run, run, "u", run, first, b"", b"", second, (second,), chosen, {}, at_least, held)


HELLOS = st.builds(messages.Hello, st.sampled_from(((1,), (2,), (2, 1))), st.just(""), st.floats(0, 100), st.just(""))
CENTRAL = st.one_of(
    st.tuples(ENVOYS, st.integers(1, 2), HELLOS).map(lambda said: Greets(*said, sizes(said[0]))),
    st.builds(director.HangsUp, ENVOYS, st.integers(1, 2)),
    st.builds(Says, ENVOYS, st.integers(1, 2), BEATS | ANSWERS | RESULTS),
    st.builds(
        Submits, st.builds(submission, RUNS, held=st.booleans(), chosen=st.sampled_from(((), ("a",), ("a", "b"))))
    ),
    RUNS.flatmap(lambda run: st.builds(Concerns, st.just(run), of_run(run))),
    st.builds(director.Removes, RUNS),
    st.builds(director.Expels, ENVOYS),
    st.just(director.Passes()),
    st.just(director.Begins()),
)


class Centre:
    """A Director's machine; beside it its journal, and what is folded from that fact by fact."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"max_running": 1, "patience": 30.0}
        self.machine = Director(**self.settings)
        self.journal: list[Any] = []
        self.folded: dict[str, Run] = {}
        self.now = 0.0

    def act(self, act: Act) -> None:
        """Let something happen."""
        self.now += act.after
        event = following(self.machine, act.event) if isinstance(act.event, Next) else act.event
        if event is None:
            return
        self.handle(event, act.crash)
        if act.crash is not None:
            self.machine = Director(self.journal, **self.settings)
            self.compare()
            self.handle(director.Begins(), None)

    def handle(self, event: Any, most: int | None) -> None:
        over = {run.id: run.phase for run in self.machine.runs.values() if run.phase.over}
        for effect in self.machine.handle(event, self.now)[:most]:
            self.done(effect)
        for run, phase in over.items():
            assert run not in self.machine.runs or self.machine.runs[run].phase is phase
        assert self.machine.wake > self.now
        if most is None:
            self.compare()

    def done(self, effect: Any) -> None:
        match effect:
            case Record(fact):
                assert wire.decode(wire.encode(fact)) == fact
                self.journal.append(fact)
                run = fact.run
                self.folded[run] = begun(fact) if isinstance(fact, facts.Accepted) else apply(self.folded[run], fact)
            case Send(_, message):
                wire.encode(message)
            case Forget(run):
                self.journal = [fact for fact in self.journal if fact.run != run]
                del self.folded[run]
            case Discard(run, names):
                assert run not in self.machine.runs or not names & self.machine.runs[run].needed()

    def compare(self) -> None:
        live = {run.id: durable(run) for run in self.machine.runs.values()}
        assert live == {run: durable(its) for run, its in self.folded.items()}

    def finish(self) -> None:
        again = Director(self.journal).runs
        assert {run: durable(its) for run, its in again.items()} == {
            run: durable(its) for run, its in self.machine.runs.items()
        }


def following(machine: Director, what: Next) -> Any:
    """An event that would come next; None where there is none of that kind."""

    def picked(among: list[Any]) -> Any:
        return among[what.pick % len(among)] if among else None

    run = picked([run for run in machine.runs.values() if not run.phase.over])
    here = [name for name in machine.seats if machine.seats[name].session is not None]
    match what.kind:
        case "greets":
            name = tuple(HOMES)[what.pick % len(HOMES)]
            return Greets(name, what.pick % 2 + 1, messages.Hello((1,), "", 0.0, ""), sizes(name))
        case "joins" if run is not None and here:
            name = picked(here)
            return Says(name, machine.seats[name].session or 0, messages.Answer(run.id, Consent.READY))
        case "asks" if run is not None:
            kind, clients = get_args(Kind)[what.pick % 3], run.population()["ids"]
            parts = tuple((client, "{}", None) for client in clients)
            return Concerns(
                run.id,
                events.Asks("train", 1, 0, Closing(kind, 1, 5.0, grace=2.0, patience=3.0), Blob(f"{2:064x}", 2), parts),
            )
        case "answers" if run is not None:
            visit = picked([visit for visit in run.visits.values() if visit.came is None])
            if visit is None:
                return None
            result = messages.Result(run.id, visit.asked.ask, visit.part.client, Blob(f"{3:064x}", 3))
            return Concerns(run.id, events.Answers(visit.part.envoy, result))
        case "judges" if run is not None:
            visit = picked([visit for visit in run.visits.values() if visit.came is not None and not visit.judged])
            return visit and Concerns(run.id, events.Judges(visit.asked.ask, visit.part.client, ""))
        case "tells" if run is not None and run.closed is not None:
            document, model = Blob(f"{4:064x}", 4), Blob(f"{5:064x}", 5)
            its = facts.Told(run.id, run.closed.ask, run.closed.fates, "{}", 1, document, (model,), model)
            return Concerns(run.id, events.Tells(its))
    return None


KINDS = ("greets", "joins", "asks", "answers", "judges", "tells")


@given(acts(CENTRAL, KINDS))
@settings(max_examples=300)
def test_the_director_takes_whatever_happens(story: list[Act]) -> None:
    centre = Centre()
    centre.handle(Submits(submission("r1")), None)
    for act in story:
        centre.act(act)
    centre.finish()


def staged(*what: str) -> Run:
    """A run to which this has happened, with the Envoys a and b."""
    centre = Centre()
    chosen = submission("r1", held="held" in what, chosen=("a", "b"), at_least=2)
    if "queued" in what:
        centre.handle(Submits(submission("r0")), None)
    centre.handle(Submits(chosen), None)
    for name in ("a", "b"):
        centre.handle(Greets(name, 1, messages.Hello((1,), "", 0.0, ""), sizes(name)), None)
        if "joined" in what:
            centre.handle(Says(name, 1, messages.Answer("r1", Consent.READY)), None)
    for kind in what:
        if kind in KINDS:
            event = following(centre.machine, Next(kind, 0))
            assert event is not None
            centre.handle(event, None)
    for kind, event in (
        ("finished", events.Finishes()),
        ("failed", events.Fails("")),
        ("cancelled", events.Cancel("")),
    ):
        if kind in what:
            centre.handle(Concerns("r1", event), None)
    return centre.machine.runs["r1"]


ANSWERED = ("joined", "asks", *("answers",) * 3)
STAGES = {
    "held": ("held",),
    "queued": ("queued",),
    "gathering": (),
    "running": ("joined",),
    "asked": ("joined", "asks"),
    "answered": ANSWERED,
    "closed": (*ANSWERED, *("judges",) * 3),
    "told": (*ANSWERED, *("judges",) * 3, "tells"),
    "finished": ("joined", "finished"),
    "failed": (*ANSWERED, "failed"),
    "cancelled": ("joined", "asks", "cancelled"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_takes_any_event_in_every_phase(stage: str) -> None:
    run = staged(*STAGES[stage])
    assert run.phase.value == stage or stage in ("asked", "answered", "closed", "told")
    assert (run.closed is not None) == (stage == "closed")
    assert (run.told is not None) == (stage == "told")

    @settings(max_examples=150)
    @given(st.lists(of_run("r1"), min_size=1, max_size=4), st.sampled_from((0.0, 4.0, 100.0)))
    def takes(story: list[Any], now: float) -> None:
        after = run
        for event in story:
            before = after
            after, effects = running.step(before, event, now, 30.0)
            folded = before
            for effect in effects:
                if isinstance(effect, Record):
                    folded = apply(folded, effect.fact)
            assert durable(folded) == durable(after)
            assert not before.phase.over or after.phase is before.phase

    takes()


def test_the_stages_are_all_phases() -> None:
    assert {staged(*what).phase for what in STAGES.values()} == set(Phase)


def test_a_run_is_restored_from_its_facts_alone() -> None:
    centre = Centre()
    for kind in ("greets", "joins", "asks", "answers", "judges", "tells"):
        if kind == "greets":
            centre.handle(Submits(submission("r1")), None)
        event = following(centre.machine, Next(kind, 0))
        assert event is not None
        centre.handle(event, None)
    assert durable(restored(centre.journal)) == durable(centre.machine.runs["r1"])
    assert centre.machine.runs["r1"].told is not None
