"""One ask carried out by a crew: chunks go out, answers come in, and what a dead process had not answered goes to another.

This file must not know what answers say, or what becomes of them.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hansa.errors import ChildDied
from hansa.simulation.processes.ended import not_within
from hansa.simulation.processes.handing import Errand, Handing
from hansa.simulation.processes.letters import Letter, Sealed
from hansa.simulation.processes.outgoing import Outgoing
from hansa.simulation.processes.port import Crew, Member

AHEAD = 2
"""A process is given its next chunk while it computes one."""


class Refused(Exception):
    """Something of this ask's rule or sums cannot cross between processes: updates must come back one by one."""


@dataclass(frozen=True)
class Settled:
    """A visit was answered.

    Attributes:
        member: who computed it; None where its process died over it.
        errand: the visit.
        outcome: what the worker says of it; `ChildDied` where it died.
        value: and the arrays with it.
    """

    member: Member | None
    errand: Errand
    outcome: Any
    value: Any = None


@dataclass(frozen=True)
class Partial:
    """The sum of what a process has settled since the last."""

    member: Member
    letter: Letter


@dataclass(frozen=True)
class Over:
    """A chunk is over: `head` says how it was computed."""

    member: Member
    head: Mapping[str, Any]


@dataclass(frozen=True)
class Lost:
    """A process has ended, and with it the sum of what it had settled since the last."""

    member: Member


Event = Settled | Partial | Over | Lost


@dataclass
class _Chunk:
    number: int
    errands: list[Errand]
    settled: int = 0


@dataclass
class _Desk:
    """What one process has been given."""

    opened: bool = False
    chunks: deque[_Chunk] = field(default_factory=deque)
    unsummed: int = 0
    closing: bool = False


class Turn:
    """See the top of this file.

    Args:
        crew: who computes.
        outgoing: what they are sent.
        handing: the visits.
        summed: updates are summed where they are computed.
        ahead: so many chunks are given to a process at once.
    """

    def __init__(self, crew: Crew, outgoing: Outgoing, handing: Handing, *, summed: bool, ahead: int = AHEAD) -> None:
        self._crew, self._outgoing, self._handing, self._summed = crew, outgoing, handing, summed
        self._ahead = 1 if crew.once else ahead
        self._desks: dict[Member, _Desk] = {}
        self._numbers = 0
        self._blamed = Counter[int]()
        self._mysteries = 0

    def put_back(self, errands: list[Errand]) -> None:
        """Visits that are to be computed again, because the sum that they were in is lost."""
        self._handing.put_back(errands)

    def events(self) -> Iterator[Event]:
        """All that happens, until every visit is settled and every sum is in.

        Raises:
            HansaError: the works cannot be loaded, or processes keep ending for no client's fault.
            Refused: see there.
        """
        crew = self._crew
        while True:
            self._hand_out()
            if not len(self._handing) and not any(desk.chunks or desk.unsummed for desk in self._desks.values()):
                return
            for member, letter in list(crew.wait(self._patience())):
                if member not in crew.members:
                    continue
                if letter is None:
                    yield from self._lost(member)
                else:
                    yield from self._heard(member, letter)
            yield from self._late()

    # --- out

    def _hand_out(self) -> None:
        """Give everybody a chunk before anybody gets a second."""
        for depth in range(self._ahead):
            for member in list(self._crew.members):
                desk = self._desks.setdefault(member, _Desk())
                if member.ready and len(desk.chunks) == depth and len(self._handing):
                    self._give(member, desk)
        if self._summed and not len(self._handing):
            for member, desk in self._desks.items():
                if desk.unsummed and not desk.chunks and not desk.closing:
                    desk.closing = True
                    self._send(member, Letter("close"))

    def _give(self, member: Member, desk: _Desk) -> None:
        if not desk.opened:
            desk.opened = True
            member.send(self._outgoing.opening)
        self._numbers += 1
        errands = self._handing.next()
        letters, count = self._outgoing.chunk(self._numbers, errands, member.known)
        self._handing.put_back(errands[count:])
        desk.chunks.append(_Chunk(self._numbers, errands[:count]))
        for letter in letters[:-1]:
            member.send(letter)
        self._post(member, letters[-1])

    def _send(self, member: Member, letter: Letter) -> None:
        self._post(member, self._crew.sealed(letter))

    # --- in

    def _heard(self, member: Member, letter: Letter) -> Iterator[Event]:
        desk = self._desks[member]
        if letter.kind == "refused":
            raise Refused(letter.head["why"])
        if letter.kind == "partial":
            desk.unsummed, desk.closing = 0, False
            yield Partial(member, letter)
            return
        chunk, values = desk.chunks[0], letter.value or {}
        for number, outcome in enumerate(letter.head["outcomes"]):
            errand = chunk.errands[chunk.settled]
            chunk.settled += 1
            desk.unsummed += self._summed
            yield Settled(member, errand, outcome, values.get(str(number)))
        if letter.head["over"]:
            desk.chunks.popleft()
            yield Over(member, letter.head)
            self._handing.put_back(chunk.errands[chunk.settled :])
            if self._crew.once:
                self._dismiss(member)

    def _lost(self, member: Member, why: str = "") -> Iterator[Event]:
        """Who has ended: the visit that it was at has failed; all else is computed again."""
        desk, at = self._desks.get(member, _Desk()), member.at
        how = self._dismiss(member, why)
        suspects, others = list[Errand](), list[Errand]()
        for chunk in desk.chunks:
            ended = max(at.ended, chunk.settled) if chunk.number == at.chunk else chunk.settled
            begun = max(at.begun, ended) if chunk.number == at.chunk else ended
            suspects += chunk.errands[ended:begun]
            others += chunk.errands[chunk.settled : ended] + chunk.errands[begun:]
        self._handing.put_back(others)
        self._blamed.update(errand.position for errand in suspects)
        if len(suspects) == 1 and self._blamed[suspects[0].position] > self._crew.forgiving:
            yield Settled(None, suspects[0], ChildDied(how))
        else:
            self._handing.put_back(suspects, alone=True)
        if not suspects and desk.chunks:
            self._mysteries += 1
            if self._mysteries > 3 * self._crew.manning.processes:
                raise ChildDied(f"{how}, again and again, without computing anything", hint="is there memory left?")
        yield Lost(member)

    def _late(self) -> Iterator[Event]:
        """End those who take too long."""
        timeout = self._crew.manning.timeout
        if timeout is not None and not self._minds_itself():
            for member, left in self._left(timeout):
                if left <= 0:
                    yield from self._lost(member, not_within(timeout))

    def _patience(self) -> float | None:
        """Seconds until somebody may be late."""
        timeout = self._crew.manning.timeout
        if timeout is None or self._minds_itself():
            return None
        return max(0.001, min([timeout, *(left for _, left in self._left(timeout))]))

    def _left(self, timeout: float) -> list[tuple[Member, float]]:
        """Of each that computes, how many seconds it still has; several clients at once have so many times as much."""
        now, left = time.monotonic(), []
        for member, desk in self._desks.items():
            at = member.at
            if desk.chunks and desk.chunks[0].number == at.chunk and at.begun > at.ended:
                left.append((member, at.since + timeout * (at.begun - at.ended) - now))
        return left

    def _minds_itself(self) -> bool:
        """Whether processes look after the time of their clients by themselves."""
        return self._crew.manning.fresh and not self._crew.once

    def _dismiss(self, member: Member, why: str = "") -> str:
        self._desks.pop(member, None)
        return self._crew.replace(member, why)

    def _post(self, member: Member, sealed: Sealed) -> None:
        try:
            member.send(sealed)
        finally:
            sealed.close()
