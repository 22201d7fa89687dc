"""What an Envoy knows: the runs that it was offered, what its clients are asked, and what they keep.

The jobs and tasks are gone when the Envoy stops; what the clients keep is nothing but its facts, folded. This file must not
know what is decided when (`jobs`, `tasks`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hansa.core.private import PrivateState
from hansa.protocol.effects import Record
from hansa.protocol.facts import Answered
from hansa.protocol.messages import Assign, Blob, Offer, Settled

Kept = PrivateState[Blob | None, Answered]


class JobPhase(enum.StrEnum):
    """Where an offered run stands."""

    CONSIDERING = "considering"
    """The owner's policy looks at it."""
    WAITING = "waiting"
    """A person has to decide."""
    PREPARING = "preparing"
    """The owner agreed; its environment is made."""
    READY = "ready"
    """It takes part."""
    REFUSED = "refused"
    """It takes no part: the owner does not want it, or its environment cannot be made."""


class TaskPhase(enum.StrEnum):
    """Where a client that was asked stands."""

    FETCHING = "fetching"
    """Its blobs are on their way."""
    FETCHED = "fetched"
    """Its blobs are on disk; its run is not ready."""
    WORKING = "working"
    """The Collaborator works for it."""
    ANSWERED = "answered"
    """Its answer is on disk, and not settled."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run that was offered. `why` is the reason for its phase, where there is one to tell."""

    offer: Offer
    phase: JobPhase = JobPhase.CONSIDERING
    why: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What a client was asked.

    Attributes:
        assign: what.
        phase: see `TaskPhase`.
        deaths: how often the Collaborator died at it.
        failures: how often the work failed; forgotten, with the task, when the Envoy stops.
    """

    assign: Assign
    phase: TaskPhase = TaskPhase.FETCHING
    deaths: int = 0
    failures: int = 0


class EnvoyState:
    """Everything that an Envoy knows of runs and clients, and what it wants done.

    Args:
        facts: what it wrote down before, in order.

    Attributes:
        jobs: the runs that it was offered.
        tasks: what each client was asked last, by run and client; what was asked last stands last.
        kept: each client's private state, by run and client.
        settled: the highest ask that is settled, by run and client.
        effects: of the event that is being handled, in the order in which they are to be done.
    """

    def __init__(self, facts: Iterable[object] = ()) -> None:
        self.jobs: dict[str, Job] = {}
        self.tasks: dict[tuple[str, str], Task] = {}
        self.kept: dict[tuple[str, str], Kept] = {}
        self.settled: dict[tuple[str, str], int] = {}
        self.effects: list[Any] = []
        for fact in facts:
            self._apply(fact)

    def do(self, effect: object) -> None:
        """One more effect."""
        self.effects.append(effect)

    def record(self, fact: Answered | Settled) -> None:
        """A fact: what is kept changes, and it will be on disk before the effects after it."""
        self._apply(fact)
        self.do(Record(fact))

    def forget(self, run: str) -> bool:
        """Keep nothing of a run's clients any more; whether there was anything."""
        keys = [key for key in self.kept if key[0] == run]
        for key in keys:
            del self.kept[key]
            self.settled.pop(key, None)
        return bool(keys)

    def stands(self, run: str) -> JobPhase | None:
        """Where a run stands; None where it was not offered."""
        job = self.jobs.get(run)
        return None if job is None else job.phase

    def late(self, assign: Assign) -> bool:
        """Whether its client was asked something newer, or this is settled: what was answered is never computed again."""
        key = assign.run, assign.client
        task = self.tasks.get(key)
        return assign.ask <= self.settled.get(key, 0) or (task is not None and task.assign.ask > assign.ask)

    def needed(self) -> dict[str, str]:
        """The blobs that must stay on disk, each with its run."""
        blobs: list[tuple[Blob | None, str]] = []
        for (run, _), kept in self.kept.items():
            blobs += [(kept.current, run)]
            blobs += [(blob, run) for answer in kept.pending.values() for blob in (answer.update, answer.state)]
        for (run, _), task in self.tasks.items():
            blobs += [(task.assign.broadcast, run), (task.assign.inputs, run)]
        return {blob.sha256: run for blob, run in blobs if blob is not None}

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
