"""One run as its Director sees it: its state, which is nothing but its facts folded, and what can be read off it.

This file must not know what is decided when (`running`), nor of other runs (`director`).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hansa.core.ask import Status
from hansa.core.keeping import BEST, CHECKPOINT
from hansa.protocol.choosing import left_out
from hansa.protocol.facts import (
    Accepted,
    Asked,
    Came,
    Closed,
    Ended,
    Fate,
    Gathering,
    Joined,
    Part,
    Parted,
    Released,
    Shared,
    Started,
    Told,
)
from hansa.protocol.messages import Blob, Consent, Hello


class Phase(enum.StrEnum):
    """Where a run stands. The last three are terminal, and never change."""

    HELD = "held"
    """The Director's own approval is awaited."""
    QUEUED = "queued"
    """Others are before it."""
    GATHERING = "gathering"
    """Its Envoys are asked whether they take part."""
    RUNNING = "running"
    """Its Aggregator works."""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether it is terminal."""
        return self in (Phase.FINISHED, Phase.FAILED, Phase.CANCELLED)


@dataclass(frozen=True, slots=True)
class Member:
    """One of the chosen Envoys.

    Attributes:
        present: it has a session.
        consent: where its owner stands; None before it said.
        why: the reason for that.
        clients: for each of its clients how many examples it has in each split; known once it has joined.
        joined: it takes part; on disk.
        missing: it was dropped from an ask, and has not come back since.
    """

    present: bool = False
    consent: Consent | None = None
    why: str = ""
    clients: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    joined: bool = False
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """One client that was asked and whose fate is open.

    Attributes:
        asked: the ask that it belongs to.
        part: its part in that.
        came: its answer, if there is one.
        judged: the gate has looked at the answer.
        refusal: why the gate refused it.
    """

    asked: Asked
    part: Part
    came: Came | None = None
    judged: bool = False
    refusal: str = ""

    @property
    def fate(self) -> Fate | None:
        """What becomes of it if the ask closes now and its answer counts; None where nobody knows yet."""
        if self.came is None:
            return None
        if self.came.failure:
            return Fate(self.asked.ask, self.part.client, Status.FAILED, self.came.failure)
        if not self.judged:
            return None
        status = Status.REJECTED if self.refusal else Status.UPDATED
        return Fate(self.asked.ask, self.part.client, status, self.refusal)


@dataclass(frozen=True, slots=True)
class Kept:
    """A model that is kept besides the last: the global one after so many rounds."""

    round: int
    model: Blob


@dataclass(frozen=True, slots=True)
class Run:
    """A run.

    Attributes:
        submission: what was submitted.
        phase: see `Phase`.
        why: the reason for the phase, where there is one to tell.
        members: the chosen Envoys that are known, by name.
        users: who else may see it.
        gathering_since: when its turn came, in seconds since 1970.
        asked: the ask that the algorithm was not told of yet.
        closed: how it closed, if it did.
        asks: how many asks there were.
        visits: those whose fate is open, by ask and client; in the order in which they were asked.
        fates: the last known fate of each client.
        counted: of each client the last ask in which its answer counted; its Envoy may not have heard that yet.
        occurrences: by client and work, the last round in which it was asked, and how often in that round.
        answers: how many answers came.
        told: the last state of the algorithm that is on disk.
        models: what is kept besides the last model: "best", and by the number of rounds.
        ended: how it ended.
        crashes: how often the Aggregator died since the last progress.
        wanting: the Aggregator waits to be told who may be asked, if those are more than so many; None: it does not wait.
        restarted: when the Director was started, if that was while the run ran, in seconds since 1970; else 0.
    """

    submission: Accepted
    phase: Phase = Phase.QUEUED
    why: str = ""
    members: Mapping[str, Member] = field(default_factory=dict)
    users: frozenset[str] = frozenset()
    gathering_since: float = 0.0
    asked: Asked | None = None
    closed: Closed | None = None
    asks: int = 0
    visits: Mapping[tuple[int, str], Visit] = field(default_factory=dict)
    fates: Mapping[str, Fate] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)
    occurrences: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    answers: int = 0
    told: Told | None = None
    models: Mapping[str, Kept] = field(default_factory=dict)
    ended: Ended | None = None
    crashes: int = 0
    wanting: int | None = None
    restarted: float = 0.0

    @property
    def id(self) -> str:
        """Unique in the federation, for ever."""
        return self.submission.run

    @property
    def model(self) -> Blob:
        """The last model that is on disk."""
        return self.told.model if self.told is not None else self.submission.initial

    def chooses(self, envoy: str, hello: Hello) -> bool:
        """Whether it asks this Envoy, which announces so much, to take part."""
        return not left_out(self.submission, envoy, hello)

    def occurrence(self, client: str, work: str, round_: int) -> int:
        """How often the client was asked for this work in this round before."""
        last, times = self.occurrences.get((client, work), (round_, 0))
        return times if last == round_ else 0

    def population(self) -> dict[str, Any]:
        """Who may be asked now: everyone who has joined, but those in flight and those that went missing.

        `ids` are sorted, `examples` says for each split how many examples each client has, and `in_flight` for each work
        how many clients are at it.
        """
        if self.asked is not None:  # the algorithm is to ask the same again
            seen: dict[str, Any] = json.loads(self.asked.population)
            return seen
        busy = {client for _, client in self.visits}
        here = [member for member in self.members.values() if member.joined and not member.missing]
        clients = {client: sizes for member in here for client, sizes in member.clients.items() if client not in busy}
        examples: dict[str, dict[str, int]] = {}
        for client in sorted(clients):
            for split, size in clients[client].items():
                examples.setdefault(split, {})[client] = size
        flying: dict[str, int] = {}
        for visit in self.visits.values():
            flying[visit.asked.work] = flying.get(visit.asked.work, 0) + 1
        return {"ids": sorted(clients), "examples": examples, "in_flight": flying}

    def of_ask(self) -> dict[tuple[int, str], Visit]:
        """The open visits that the present ask waits for: those of its own, or where it closes on the first, of its work."""
        asked = self.asked
        if asked is None:
            return {}
        if asked.kind == "first":
            return {key: visit for key, visit in self.visits.items() if visit.asked.work == asked.work}
        return {key: visit for key, visit in self.visits.items() if visit.asked.ask == asked.ask}

    def needed(self) -> frozenset[str]:
        """The blobs that must stay on disk for it."""
        sent, asked = self.submission, [visit.asked for visit in self.visits.values() if visit.came is None]
        blobs: list[Blob | None] = [sent.manifest, *sent.blobs, *(kept.model for kept in self.models.values())]
        if self.phase is Phase.FINISHED and self.ended is not None:
            return _names([*blobs, self.ended.model])
        if self.told is None:
            blobs.append(sent.initial)
        else:
            blobs += [self.told.document, *self.told.trees]
        if self.ended is not None:  # before its end: it may be resumed
            return _names([*blobs, self.ended.model])
        for ask in asked if self.asked is None else [*asked, self.asked]:
            blobs += [ask.broadcast, *(part.inputs for part in ask.parts)]
        blobs += [visit.came.update for visit in self.visits.values() if visit.came is not None]
        return _names(blobs)


def _names(blobs: Iterable[Blob | None]) -> frozenset[str]:
    return frozenset(blob.sha256 for blob in blobs if blob is not None)


def apply(run: Run, fact: object) -> Run:
    """The run after a fact."""
    match fact:
        case Released():
            return replace(run, phase=Phase.QUEUED, why="")
        case Gathering():
            return replace(run, phase=Phase.GATHERING, gathering_since=fact.at)
        case Joined():
            known = run.members.get(fact.envoy, Member())
            member = replace(known, consent=Consent.READY, why="", clients=json.loads(fact.clients), joined=True)
            return replace(run, members={**run.members, fact.envoy: member})
        case Parted():
            known = run.members.get(fact.envoy, Member())
            member = replace(known, consent=Consent.REFUSED, why=fact.why, joined=False)
            return replace(run, members={**run.members, fact.envoy: member})
        case Started():
            return replace(run, phase=Phase.RUNNING, why="")
        case Asked():
            return _asked(run, fact)
        case Came():
            key = fact.ask, fact.client
            visits = {**run.visits, key: replace(run.visits[key], came=fact)}
            return replace(run, visits=visits, answers=fact.order)
        case Closed():
            return replace(run, closed=fact)
        case Told():
            return _told(run, fact)
        case Shared():
            return replace(run, users=run.users | {fact.user})
        case Ended():
            return replace(run, phase=Phase(fact.phase), why=fact.why, ended=fact, visits={}, asked=None, closed=None)
    raise TypeError(f"no fact of a run: {fact!r}")


def restored(facts: Iterable[object]) -> Run:
    """The run that left these facts; the first of them is its submission."""
    found = iter(facts)
    first = next(found)
    assert isinstance(first, Accepted)  # noqa: S101 - it is written first; for the type checker
    run = begun(first)
    for fact in found:
        run = apply(run, fact)
    return run


def begun(submission: Accepted) -> Run:
    """A run that was just submitted."""
    return Run(submission, Phase.HELD if submission.held else Phase.QUEUED, told=submission.since)


def _asked(run: Run, asked: Asked) -> Run:
    visits = {(asked.ask, part.client): Visit(asked, part) for part in asked.parts}
    counted = {(part.client, asked.work): (asked.round, part.occurrence + 1) for part in asked.parts}
    return replace(
        run,
        asked=asked,
        closed=None,
        asks=asked.ask,
        visits={**run.visits, **visits},
        occurrences={**run.occurrences, **counted},
    )


def _told(run: Run, told: Told) -> Run:
    settled = {(fate.ask, fate.client): fate for fate in told.fates}
    visits = {key: visit for key, visit in run.visits.items() if key not in settled}
    lost = {run.visits[key].part.envoy for key, fate in settled.items() if fate.status is Status.DROPPED}
    members = {
        name: replace(member, missing=True) if name in lost and not member.present else member
        for name, member in run.members.items()
    }
    fates = {**run.fates, **{fate.client: fate for fate in told.fates}}
    counted = {**run.counted, **{fate.client: fate.ask for fate in told.fates if fate.status is Status.UPDATED}}
    labels = {BEST: BEST, CHECKPOINT: str(told.rounds)}
    models = {**run.models, **{labels[mark]: Kept(told.rounds, told.model) for mark in told.marks if mark in labels}}
    return replace(
        run,
        told=told,
        asked=None,
        closed=None,
        visits=visits,
        fates=fates,
        counted=counted,
        members=members,
        models=models,
        crashes=0,
    )
