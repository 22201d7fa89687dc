"""What an Envoy does about what a client was asked: the table `(phase, event) -> handler`.

    unknown ──Assign──> fetching ──Fetched──> fetched ──Prepared──> working ──Worked──> answered ──Settled──> unknown
       │                   └────────where its run is ready────────────┘                    │
       └──────────────────Assign, where the answer is on disk already──────────────────────┘

A task is what a client was asked last, and its phase counts for events of that ask only: for those of any other it is unknown.
From everywhere `Settled` and `Over` end it. A work that failed is begun again as often as it may be. A pair that the table does
not name changes nothing: the event is a duplicate, late, or of no concern in that phase.

This file must not know how a run comes to be ready or refused (`jobs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hansa.protocol.effects import Abort, Deliver, Fetch, Work
from hansa.protocol.envoy_events import Died, Fetched, Prepared, Worked
from hansa.protocol.envoy_state import EnvoyState, JobPhase, Task, TaskPhase
from hansa.protocol.facts import Answered
from hansa.protocol.messages import Assign, Over, Result, Settled, Welcome

ATTEMPTS = 3
"""A Collaborator that dies so often at one task is not started for it again: the task has failed."""

Handler = Callable[[EnvoyState, Any, Any], Task | None]
"""Of the client's task as it stands, or None, and the event: the task that follows, or None where there is none any more."""


def step(state: EnvoyState, run: str, ask: int, client: str, event: object) -> None:
    """Let something happen to what a client was asked."""
    task = state.tasks.get((run, client))
    phase = task.phase if task is not None and task.assign.ask == ask else None
    handler = TABLE.get((phase, type(event)))
    if handler is None:
        return
    task = handler(state, task, event)
    if task is not None:
        state.tasks[run, client] = task
    else:
        state.tasks.pop((run, client), None)


# --- it is asked


def begins(state: EnvoyState, other: Task | None, assign: Assign) -> Task:
    """It is asked something new, and need not go on with what it was asked before."""
    if other is not None:
        ends(state, other)
        del state.tasks[assign.run, assign.client]
    kept = state.kept.get((assign.run, assign.client))
    if kept is not None and kept.answer(str(assign.ask)) is not None:
        return delivers(state, Task(assign, TaskPhase.ANSWERED))
    return fetches(state, Task(assign))


def fetches(state: EnvoyState, task: Task, _welcome: Welcome | None = None) -> Task:
    """Get its blobs; with every session anew, for what was fetched over the last one may have stopped."""
    assign = task.assign
    blobs = (assign.broadcast,) if assign.inputs is None else (assign.broadcast, assign.inputs)
    state.do(Fetch(assign.run, blobs, assign.ask, assign.client))
    return task


# --- it works


def fetched(state: EnvoyState, task: Task, _event: Fetched) -> Task:
    """Its blobs are there."""
    return works_if_ready(state, replace(task, phase=TaskPhase.FETCHED))


def works_if_ready(state: EnvoyState, task: Task, _event: Prepared | None = None) -> Task:
    """Nothing works before its run is ready."""
    return works(state, task) if state.stands(task.assign.run) is JobPhase.READY else task


def works(state: EnvoyState, task: Task) -> Task:
    """The Collaborator begins, from the client's private state."""
    kept = state.kept.get((task.assign.run, task.assign.client))
    state.do(Work(task.assign, kept.current if kept is not None else None))
    return replace(task, phase=TaskPhase.WORKING)


def died(state: EnvoyState, task: Task, event: Died) -> Task:
    """It begins again, unless it would die again."""
    deaths = task.deaths + 1
    if not event.final and deaths < ATTEMPTS:
        return works(state, replace(task, deaths=deaths))
    failure = event.why if event.final else f"{event.why}; it died {deaths} times at this"
    return answers(state, task, Answered(event.run, event.ask, event.client, failure=failure))


def worked(state: EnvoyState, task: Task, event: Worked) -> Task:
    """There is an answer. A work that failed is tried again first, from the same state and with the same key, if it may be."""
    answered, failures = event.answered, task.failures + bool(event.answered.failure)
    if answered.failure and failures <= task.assign.retries:
        return works(state, replace(task, failures=failures))
    if answered.failure and failures > 1:
        answered = replace(answered, failure=f"{answered.failure}\nafter {failures} attempts")
    return answers(state, task, answered)


def answers(state: EnvoyState, task: Task, answered: Answered) -> Task:
    """The answer is written down before it is sent."""
    state.record(answered)
    return delivers(state, replace(task, phase=TaskPhase.ANSWERED))


# --- it has answered


def delivers(state: EnvoyState, task: Task, _again: Assign | None = None) -> Task:
    """Send the answer. Who asks again has not got it: with a new session too, when it hears in a Beat what is held here."""
    run, ask, client = task.assign.run, task.assign.ask, task.assign.client
    answer = state.kept[run, client].pending[str(ask)]
    state.do(
        Deliver(Result(run, ask, client, answer.update, answer.weight, answer.metrics, answer.failure, answer.log))
    )
    return task


# --- it is over


def settled(state: EnvoyState, task: Task, event: Settled) -> None:
    """What became of its answer, or that none is wanted any more."""
    settles(state, task, event)
    ends(state, task)


def settles(state: EnvoyState, other: Task | None, event: Settled) -> Task | None:
    """What became of an answer is written down, once; what the client was asked since goes on."""
    kept = state.kept.get((event.run, event.client))
    if kept is not None and str(event.ask) in kept.pending:
        state.record(event)
    return other


def ends(state: EnvoyState, task: Task, _over: Over | None = None) -> None:
    """Nobody works at it any more."""
    if task.phase is TaskPhase.WORKING:
        state.do(Abort(task.assign.run, task.assign.ask, task.assign.client))


_ENDS: dict[type, Handler] = {Settled: settled, Over: ends}
_HANDLERS: dict[TaskPhase | None, dict[type, Handler]] = {
    None: {Assign: begins, Settled: settles},
    TaskPhase.FETCHING: {**_ENDS, Welcome: fetches, Fetched: fetched},
    TaskPhase.FETCHED: {**_ENDS, Prepared: works_if_ready},
    TaskPhase.WORKING: {**_ENDS, Worked: worked, Died: died},
    TaskPhase.ANSWERED: {**_ENDS, Assign: delivers},
}
TABLE: Mapping[tuple[TaskPhase | None, type], Handler] = {
    (phase, event): handler for phase, handlers in _HANDLERS.items() for event, handler in handlers.items()
}
"""What is done in which phase about which event; None: the client is not at that ask. Pairs that are missing are ignored."""
