"""The Envoy's state machine: what it was offered, what its clients are asked, and their private state.

`handle(event, now) -> effects`, by two tables: `(where a job stands, event)` for a run that was offered, and `(where a task
stands, event)` for a client that was asked. It does no input or output and reads no clock.

    job:   considering ──> waiting ──> preparing ──> ready          task:  fetching ──> working ──> answered ──settled──>
               └──────────────┴────────────┴──> refused
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hansa.core.private import PrivateState
from hansa.protocol.effects import Abort, Consider, Deliver, Discard, Fetch, Forget, Prepare, Record, Say, Work
from hansa.protocol.facts import Answered
from hansa.protocol.messages import Answer, Assign, Beat, Blob, Consent, Holding, Offer, Over, Result, Settled, Welcome

ATTEMPTS = 3
"""A Collaborator that dies so often at one task is not started for it again: the task has failed."""

Kept = PrivateState[Blob | None, Answered]


class JobPhase(enum.StrEnum):
    """Where an offered run stands."""

    CONSIDERING = "considering"
    WAITING = "waiting"
    PREPARING = "preparing"
    READY = "ready"
    REFUSED = "refused"


class TaskPhase(enum.StrEnum):
    """Where a client that was asked stands."""

    FETCHING = "fetching"
    FETCHED = "fetched"
    WORKING = "working"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Job:
    """A run that was offered."""

    offer: Offer
    phase: JobPhase = JobPhase.CONSIDERING
    why: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What a client was asked. `deaths` counts how often the Collaborator died at it."""

    assign: Assign
    phase: TaskPhase = TaskPhase.FETCHING
    deaths: int = 0


# --- events


@dataclass(frozen=True, slots=True)
class Hears:
    """The Director says something."""

    message: Welcome | Offer | Assign | Settled | Over


@dataclass(frozen=True, slots=True)
class Cut:
    """The session is over."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The owner's policy, or a person, has decided about a run; or a person has to."""

    run: str
    consent: Consent
    why: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The run's environment is there; or it cannot be, and `why` says so."""

    run: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The blobs of a task are on disk."""

    run: str
    ask: int
    client: str


@dataclass(frozen=True, slots=True)
class Worked:
    """The Collaborator has an answer; its blobs are on disk."""

    answered: Answered


@dataclass(frozen=True, slots=True)
class Died:
    """The Collaborator died while it worked for a client. `final` says that it would again: a limit was reached."""

    run: str
    ask: int
    client: str
    why: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Passes:
    """Time has passed."""


class Envoy:
    """Everything that an Envoy knows.

    Args:
        facts: what it wrote down before, in order.
    """

    def __init__(self, facts: Iterable[object] = ()) -> None:
        self.jobs: dict[str, Job] = {}
        self.tasks: dict[tuple[str, str], Task] = {}
        self.kept: dict[tuple[str, str], Kept] = {}
        self.settled: dict[tuple[str, str], int] = {}
        self.up, self.beat, self.next_beat = False, 20.0, 0.0
        for fact in facts:
            self._apply(fact)

    def handle(self, event: Any, now: float) -> list[Any]:
        """What is to be done, in this order. `now` is in seconds since 1970."""
        before, self._effects = self.needed(), list[Any]()
        self._HANDLERS[type(event)](self, event, now)
        gone = before.keys() - self.needed().keys()
        return [*self._effects, *(Discard(before[blob], frozenset([blob])) for blob in sorted(gone))]

    @property
    def wake(self) -> float:
        """When the next sign of life is due, in seconds since 1970; infinite while there is no session."""
        return self.next_beat if self.up else float("inf")

    def needed(self) -> dict[str, str]:
        """The blobs that must stay on disk, each with its run."""
        blobs: list[tuple[Blob | None, str]] = []
        for (run, _), kept in self.kept.items():
            blobs += [(kept.current, run)]
            blobs += [(blob, run) for answer in kept.pending.values() for blob in (answer.update, answer.state)]
        for (run, _), task in self.tasks.items():
            blobs += [(task.assign.broadcast, run), (task.assign.inputs, run)]
        return {blob.sha256: run for blob, run in blobs if blob is not None}

    # --- the session

    def _hears(self, event: Hears, now: float) -> None:
        self._MESSAGES[type(event.message)](self, event.message, now)

    def _welcome(self, message: Welcome, now: float) -> None:
        self.up, self.beat = True, message.beat
        self._say_all(now)
        for (run, _), task in self.tasks.items():
            if task.phase is TaskPhase.FETCHING:
                self._fetch(task.assign)
            elif run in self.jobs and task.phase is TaskPhase.ANSWERED:
                self._deliver(task.assign)

    def _cut(self, _event: Cut, _now: float) -> None:
        self.up = False

    def _passes(self, _event: Passes, now: float) -> None:
        if self.up and now >= self.next_beat:
            self._say_all(now)

    def _say_all(self, now: float) -> None:
        self.next_beat = now + self.beat
        holding = [
            Holding(run, int(ask), client, answered=True)
            for (run, client), kept in self.kept.items()
            for ask in kept.pending
        ]
        working = [
            Holding(run, task.assign.ask, client, answered=False)
            for (run, client), task in self.tasks.items()
            if task.phase is not TaskPhase.ANSWERED
        ]
        runs = dict.fromkeys(run for run, _ in self.kept)
        self._do(Say(Beat(now, tuple(self.jobs), tuple(runs), (*holding, *working))))

    # --- runs

    def _offer(self, offer: Offer, _now: float) -> None:
        job = self.jobs.get(offer.run)
        if job is None:
            self.jobs[offer.run] = Job(offer)
            self._do(Consider(offer))
        else:
            self._consent(job)

    def _decided(self, event: Decided, _now: float) -> None:
        job = self.jobs.get(event.run)
        if job is None or job.phase not in (JobPhase.CONSIDERING, JobPhase.WAITING):
            return
        phases = {
            Consent.WAITING: JobPhase.WAITING,
            Consent.READY: JobPhase.PREPARING,
            Consent.REFUSED: JobPhase.REFUSED,
        }
        job = self.jobs[event.run] = replace(job, phase=phases[event.consent], why=event.why)
        if job.phase is JobPhase.PREPARING:
            self._do(Prepare(event.run))
        self._consent(job)

    def _prepared(self, event: Prepared, _now: float) -> None:
        job = self.jobs.get(event.run)
        if job is None or job.phase is not JobPhase.PREPARING:
            return
        phase = JobPhase.REFUSED if event.why else JobPhase.READY
        job = self.jobs[event.run] = replace(job, phase=phase, why=event.why)
        self._consent(job)
        for (run, _), task in list(self.tasks.items()):
            if phase is JobPhase.READY and run == event.run and task.phase is TaskPhase.FETCHED:
                self._work(task)

    def _consent(self, job: Job) -> None:
        said = {
            JobPhase.WAITING: Consent.WAITING,
            JobPhase.READY: Consent.READY,
            JobPhase.REFUSED: Consent.REFUSED,
        }
        if job.phase in said:
            self._do(Say(Answer(job.offer.run, said[job.phase], job.why)))

    def _over(self, message: Over, _now: float) -> None:
        known = message.run in self.jobs
        for run, client in [key for key in self.tasks if key[0] == message.run]:
            self._drop(run, client)
        for key in [key for key in self.kept if key[0] == message.run]:
            known = True
            del self.kept[key]
            self.settled.pop(key, None)
        self.jobs.pop(message.run, None)
        if known:
            self._do(Forget(message.run))

    # --- what clients are asked

    def _assign(self, assign: Assign, _now: float) -> None:
        for settled in assign.previous:
            self._settle(settled)
        key = assign.run, assign.client
        task, kept = self.tasks.get(key), self.kept.get(key)
        if assign.ask <= self.settled.get(key, 0) or (task is not None and task.assign.ask > assign.ask):
            return  # it comes late: what was answered is never computed again
        job = self.jobs.get(assign.run)
        if job is not None and job.phase is JobPhase.REFUSED:
            self._consent(job)
            return
        if task is not None and task.assign.ask < assign.ask:
            self._drop(*key)
        elif task is not None:
            if task.phase is TaskPhase.ANSWERED:
                self._deliver(assign)
            return
        if kept is not None and kept.answer(str(assign.ask)) is not None:
            self.tasks[key] = Task(assign, TaskPhase.ANSWERED)
            self._deliver(assign)
            return
        self.tasks[key] = Task(assign)
        self._fetch(assign)

    def _fetched(self, event: Fetched, _now: float) -> None:
        task = self.tasks.get((event.run, event.client))
        if task is None or task.assign.ask != event.ask or task.phase is not TaskPhase.FETCHING:
            return
        task = self.tasks[event.run, event.client] = replace(task, phase=TaskPhase.FETCHED)
        job = self.jobs.get(event.run)
        if job is not None and job.phase is JobPhase.READY:
            self._work(task)

    def _worked(self, event: Worked, _now: float) -> None:
        fact = event.answered
        task = self.tasks.get((fact.run, fact.client))
        if task is None or task.assign.ask != fact.ask or task.phase is not TaskPhase.WORKING:
            return
        self._record(fact)
        self.tasks[fact.run, fact.client] = replace(task, phase=TaskPhase.ANSWERED)
        self._deliver(task.assign)

    def _died(self, event: Died, now: float) -> None:
        task = self.tasks.get((event.run, event.client))
        if task is None or task.assign.ask != event.ask or task.phase is not TaskPhase.WORKING:
            return
        deaths = task.deaths + 1
        if event.final or deaths >= ATTEMPTS:
            failure = event.why if event.final else f"{event.why}; it died {deaths} times at this"
            self._worked(Worked(Answered(event.run, event.ask, event.client, failure=failure)), now)
        else:
            self._work(replace(task, deaths=deaths))

    def _settled(self, message: Settled, _now: float) -> None:
        self._settle(message)

    def _settle(self, settled: Settled) -> None:
        key = settled.run, settled.client
        kept, task = self.kept.get(key), self.tasks.get(key)
        if kept is not None and str(settled.ask) in kept.pending:
            self._record(settled)
        if task is not None and task.assign.ask == settled.ask:
            self._drop(*key)

    def _drop(self, run: str, client: str) -> None:
        task = self.tasks.pop((run, client))
        if task.phase is TaskPhase.WORKING:
            self._do(Abort(run, task.assign.ask, client))

    def _fetch(self, assign: Assign) -> None:
        blobs = (assign.broadcast,) if assign.inputs is None else (assign.broadcast, assign.inputs)
        self._do(Fetch(assign.run, blobs, assign.ask, assign.client))

    def _work(self, task: Task) -> None:
        assign = task.assign
        kept = self.kept.get((assign.run, assign.client))
        self.tasks[assign.run, assign.client] = replace(task, phase=TaskPhase.WORKING)
        self._do(Work(assign, kept.current if kept is not None else None))

    def _deliver(self, assign: Assign) -> None:
        answer = self.kept[assign.run, assign.client].pending[str(assign.ask)]
        told = Result(
            assign.run, assign.ask, assign.client, answer.update, answer.weight, answer.metrics, answer.failure
        )
        self._do(Deliver(told))

    # --- facts

    def _record(self, fact: Answered | Settled) -> None:
        self._apply(fact)
        self._do(Record(fact))

    def _apply(self, fact: object) -> None:
        match fact:
            case Answered():
                key = fact.run, fact.client
                self.kept[key] = self.kept.get(key, Kept(None)).propose(str(fact.ask), fact)
            case Settled():
                key = fact.run, fact.client
                if key in self.kept:
                    self.kept[key] = self.kept[key].settle(str(fact.ask), fact.status)
                    self.settled[key] = max(self.settled.get(key, 0), fact.ask)
            case _:
                raise TypeError(f"no fact of an Envoy: {fact!r}")

    def _do(self, effect: object) -> None:
        self._effects.append(effect)

    _MESSAGES: Mapping[type, Any] = {
        Welcome: _welcome,
        Offer: _offer,
        Assign: _assign,
        Settled: _settled,
        Over: _over,
    }
    _HANDLERS: Mapping[type, Any] = {
        Hears: _hears,
        Cut: _cut,
        Passes: _passes,
        Decided: _decided,
        Prepared: _prepared,
        Fetched: _fetched,
        Worked: _worked,
        Died: _died,
    }
