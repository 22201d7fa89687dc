"""Bugs that are planted, to see that the simulation finds them: each is something that an engineer might well have written.

Nothing here is imported by anything but tests, and whoever plants a bug takes it out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hansa.core.ask import Kind, Status
from hansa.core.private import PrivateState
from hansa.protocol import asking, closing, director, envoy, gathering, run, running, tasks, visiting
from hansa.protocol.effects import Record, Send
from hansa.protocol.events import Answers, Beats, Consents
from hansa.protocol.facts import Closed, Fate, Parted
from hansa.protocol.messages import Assign, Settled
from hansa.protocol.run import Phase, Run
from hansa.testing.world import centre
from hansa.testing.world.aggregator import Aggregator
from hansa.testing.world.plan import WORST, Faults, Plan, drawn


class Patch(Protocol):
    """What plants, and takes out again: `pytest.MonkeyPatch`."""

    def setattr(self, target: Any, name: Any, value: Any) -> None:
        """Another attribute."""

    def setitem(self, dic: Any, name: Any, value: Any) -> None:
        """Another entry."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug.

    Attributes:
        name: what is wrong.
        plant: does it.
        found: what is said of it, as a regular expression.
        faults: those in which it shows: they alone happen in its schedules, as often as they ever do; none: all as drawn.
        kind: of closing in which it shows: all runs close so; empty: as drawn.
    """

    name: str
    plant: Callable[[Patch], None]
    found: str
    faults: tuple[str, ...] = ()
    kind: Kind | None = None

    def schedule(self, seed: int) -> Plan:
        """The schedule of a seed, with its faults and its closing."""
        plan = drawn(seed)
        faults = Faults(**{name: getattr(WORST, name) for name in self.faults}) if self.faults else plan.faults
        runs = tuple(replace(each, kind=self.kind or each.kind) for each in plan.runs)
        return replace(plan, faults=faults, runs=runs)


# --- before it is on disk


def _writes_last(patch: Patch, machine: type) -> None:
    handle = machine.handle  # type: ignore[attr-defined]  # both machines have it

    def mutant(self: Any, event: Any, now: float) -> list[Any]:
        effects = handle(self, event, now)
        return sorted(effects, key=lambda effect: isinstance(effect, Record))

    patch.setattr(machine, "handle", mutant)


def _director_writes_last(patch: Patch) -> None:
    _writes_last(patch, director.Director)


def _envoy_writes_last(patch: Patch) -> None:
    _writes_last(patch, envoy.Envoy)


def _closing_is_not_written(patch: Patch) -> None:
    handle = director.Director.handle

    def mutant(self: director.Director, event: Any, now: float) -> list[Any]:
        effects = handle(self, event, now)
        return [each for each in effects if not (isinstance(each, Record) and isinstance(each.fact, Closed))]

    patch.setattr(director.Director, "handle", mutant)


def _settles_when_it_closes(patch: Patch) -> None:
    step = director.Director._step

    def mutant(self: director.Director, run_: str, event: Any, now: float) -> list[Any]:
        before = self.runs[run_]
        effects = step(self, run_, event, now)
        closed = self.runs[run_].closed
        if closed is None or closed == before.closed:
            return effects
        visits = before.visits | self.runs[run_].visits  # type: ignore[operator]  # it is a dict
        return effects + [
            Send(visits[fate.ask, fate.client].part.envoy, Settled(run_, fate.ask, fate.client, fate.status))
            for fate in closed.fates
        ]

    patch.setattr(director.Director, "_step", mutant)


# --- what counts


def _counts_twice(patch: Patch) -> None:
    def mutant(turn: Any, event: Answers) -> None:
        if (event.result.ask, event.result.client) in turn.run.visits:
            visiting.came(turn, event.result)
        else:
            visiting.answers(turn, event)

    patch.setitem(running.TABLE, (Phase.RUNNING, Answers), mutant)


def _takes_a_stale_answer(patch: Patch) -> None:
    def mutant(turn: Any, event: Answers) -> None:
        asks = [ask for ask, client in turn.run.visits if client == event.result.client]
        visiting.answers(turn, replace(event, result=replace(event.result, ask=asks[-1])) if asks else event)

    patch.setitem(running.TABLE, (Phase.RUNNING, Answers), mutant)


def _closes_anew_after_a_crash(patch: Patch) -> None:
    def mutant(run_: Run, closed: Closed) -> Any:
        late = {key for key, visit in run_.of_ask().items() if visit.came is not None and visit.came.update is not None}
        fates = tuple(
            replace(fate, status=Status.UPDATED)
            if fate.status is Status.DROPPED and (fate.ask, fate.client) in late
            else fate
            for fate in closed.fates
        )
        return closing.close(run_, replace(closed, fates=fates))

    patch.setattr(asking, "close", mutant)


def _first_counts_all_that_came(patch: Patch) -> None:
    in_order = closing._in_order
    patch.setattr(closing, "_in_order", lambda visits, known, _count: in_order(visits, known, 1000))


def _quorum_does_not_wait(patch: Patch) -> None:
    decided = closing._closing

    def mutant(run_: Run, asked: Any, _now: float) -> tuple[Fate, ...] | None:
        return decided(run_, asked, float("inf"))

    patch.setattr(closing, "_closing", mutant)


def _forgets_the_occurrence(patch: Patch) -> None:
    patch.setattr(Run, "occurrence", lambda _self, _client, _work, _round: 0)


def _forgets_what_counted(patch: Patch) -> None:
    told = run._told
    patch.setattr(run, "_told", lambda run_, fact: replace(told(run_, fact), counted={}))


def _aggregator_begins_anew(patch: Patch) -> None:
    patch.setattr(centre, "Aggregator", lambda plan, library, _told, out: Aggregator(plan, library, None, out))


# --- a client's own state


def _commits_whatever_became_of_it(patch: Patch) -> None:
    settle = PrivateState.settle
    patch.setattr(PrivateState, "settle", lambda self, ask, _status: settle(self, ask, Status.UPDATED))


def _never_commits(patch: Patch) -> None:
    settle = PrivateState.settle
    patch.setattr(PrivateState, "settle", lambda self, ask, _status: settle(self, ask, Status.DROPPED))


def _computes_again(patch: Patch) -> None:
    patch.setattr(PrivateState, "answer", lambda _self, _ask: None)


def _settles_in_memory_only(patch: Patch) -> None:
    handle = envoy.Envoy.handle

    def mutant(self: envoy.Envoy, event: Any, now: float) -> list[Any]:
        effects = handle(self, event, now)
        return [each for each in effects if not (isinstance(each, Record) and isinstance(each.fact, Settled))]

    patch.setattr(envoy.Envoy, "handle", mutant)


def _works_unprepared(patch: Patch) -> None:
    patch.setitem(
        tasks.TABLE, (envoy.TaskPhase.FETCHING, envoy.Fetched), lambda state, task, _: tasks.works(state, task)
    )


# --- what is lost


def _beats_put_nothing_right(patch: Patch) -> None:
    def mutant(turn: Any, event: Beats) -> None:
        turn.member(event.envoy, present=True, missing=False)
        if turn.run.id not in event.beat.runs:
            turn.do(Send(event.envoy, visiting.offer(turn.run)))

    patch.setitem(running.TABLE, (Phase.RUNNING, Beats), mutant)


def _never_assigns_again(patch: Patch) -> None:
    def nothing(_turn: Any, _envoy: str) -> None:
        pass

    def mutant(turn: Any, event: Beats) -> None:
        visiting.beats(turn, event)
        turn.effects = [
            each for each in turn.effects if not (isinstance(each, Send) and isinstance(each.message, Assign))
        ]

    patch.setattr(gathering, "assign_all", nothing)
    patch.setitem(running.TABLE, (Phase.RUNNING, Beats), mutant)


def _lost_results_stay_lost(patch: Patch) -> None:
    def mutant(turn: Any, event: Beats) -> None:
        holding = tuple(replace(each, answered=False) for each in event.beat.holding)
        visiting.beats(turn, replace(event, beat=replace(event.beat, holding=holding)))

    patch.setitem(running.TABLE, (Phase.RUNNING, Beats), mutant)


def _who_parts_is_waited_for(patch: Patch) -> None:
    def mutant(turn: Any, name: str, why: str) -> None:
        turn.record(Parted(turn.run.id, name, why))

    patch.setattr(gathering, "parts", mutant)


def _the_end_is_said_once(patch: Patch) -> None:
    for phase in (Phase.FINISHED, Phase.FAILED, Phase.CANCELLED):
        for event in (Beats, Answers, Consents):
            patch.setitem(running.TABLE, (phase, event), lambda _turn, _event: None)


# --- the disk


def _keeps(patch: Patch, also: Callable[[Run], Iterable[str]], without: Callable[[Run], Iterable[str]]) -> None:
    needed = Run.needed
    patch.setattr(Run, "needed", lambda self: needed(self).union(also(self)).difference(without(self)))


def _keeps_what_was_broadcast(patch: Patch) -> None:
    def broadcasts(run_: Run) -> Iterable[str]:
        asked = () if run_.ended or not run_.asks else remembered[run_.id]
        return [sent[1] for sent in asked]

    def mutant(run_: Run, asked: Any) -> Run:
        if asked.ask == 1:  # another schedule's run of that name
            remembered[run_.id] = set()
        remembered[run_.id].add((asked.ask, asked.broadcast.sha256))
        return before(run_, asked)

    remembered: dict[str, set[tuple[int, str]]] = {}
    before = run._asked
    patch.setattr(run, "_asked", mutant)
    _keeps(patch, broadcasts, lambda _run: ())


def _discards_updates_too_soon(patch: Patch) -> None:
    def updates(run_: Run) -> Iterable[str]:
        answers = [visit.came for visit in run_.visits.values() if visit.judged]
        return [came.update.sha256 for came in answers if came is not None and came.update is not None]

    _keeps(patch, lambda _run: (), updates)


def _discards_the_state(patch: Patch) -> None:
    _keeps(patch, lambda _run: (), lambda run_: [run_.told.document.sha256] if run_.told else [])


MUTANTS = (
    Mutant("the Director does before it writes", _director_writes_last, "before|not on disk"),
    Mutant("an Envoy answers before it writes", _envoy_writes_last, "answers before that is on disk"),
    Mutant("a closing is not written down", _closing_is_not_written, "a closing that is not on disk"),
    Mutant("settled when it closes", _settles_when_it_closes, "settled"),
    Mutant("a result is counted twice", _counts_twice, "counted twice"),
    Mutant(
        "a stale answer is taken",
        _takes_a_stale_answer,
        "not what the Envoy wrote down|another's update|its update is not on disk",
    ),
    Mutant(
        "a late result counts after a crash",
        _closes_anew_after_a_crash,
        "told what was not closed",
        ("director", "aggregator", "slow"),
        "quorum",
    ),
    Mutant("the first k are all that came", _first_counts_all_that_came, "more count than", kind="first"),
    Mutant("a quorum does not wait for its deadline", _quorum_does_not_wait, "closed too soon", kind="quorum"),
    Mutant("the occurrence is forgotten", _forgets_the_occurrence, "the same key twice"),
    Mutant("what counted is forgotten", _forgets_what_counted, "said to be lost", ("drop", "partition"), "quorum"),
    Mutant(
        "a crashed Aggregator begins anew", _aggregator_begins_anew, "not the state that follows|the same key twice"
    ),
    Mutant("a client's state follows whatever became of it", _commits_whatever_became_of_it, "another state"),
    Mutant("a client's state never follows", _never_commits, "another state"),
    Mutant("an Envoy computes again", _computes_again, "computes again"),
    Mutant("an Envoy settles in memory only", _settles_in_memory_only, "after a restart|replay|still keeps"),
    Mutant("an Envoy works unprepared", _works_unprepared, "works where it cannot", ("envoy", "unfit", "slow")),
    Mutant("signs of life put nothing right", _beats_put_nothing_right, "do not end"),
    Mutant("an assignment that is lost is not sent again", _never_assigns_again, "do not end"),
    Mutant("a result that is lost stays lost", _lost_results_stay_lost, "do not end"),
    Mutant("who parts is waited for", _who_parts_is_waited_for, "do not end|still goes on"),
    Mutant("the end is said once", _the_end_is_said_once, "still"),
    Mutant("what was broadcast is kept", _keeps_what_was_broadcast, "models on disk"),
    Mutant("an update is discarded before it is used", _discards_updates_too_soon, "lacks an update|that is gone"),
    Mutant("the state is discarded", _discards_the_state, "its state is gone|needs a blob|not on disk"),
)
"""All but those of time (`mutants_of_time`)."""
