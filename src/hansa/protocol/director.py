"""The Director's state machine: its Envoys, its runs, and whose turn it is. What is decided about one run stands in `running`.

`handle(event, now) -> effects`. It does no input or output and reads no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hansa.protocol import closing, running
from hansa.protocol.effects import Changed, Forget, Record, Send
from hansa.protocol.events import Answers, Arrives, Beats, Consents, Event, Expelled, Leaves, Restarts, Slot, Tick
from hansa.protocol.facts import Accepted
from hansa.protocol.messages import VERSIONS, Answer, Beat, Goodbye, Hello, Over, Result, Welcome
from hansa.protocol.run import Phase, Run, begun, restored


@dataclass(frozen=True, slots=True)
class Seat:
    """An Envoy as the Director sees it.

    Attributes:
        session: which of its sessions is the present one; None where it has none.
        since: when that changed, in seconds since 1970.
        heard: when it last said anything.
        hello: what it announced.
        clients: of each of its clients how many examples it has in each split, as JSON.
        skew: how far its clock is ahead of the Director's, in seconds.
    """

    session: int | None
    since: float
    heard: float
    hello: Hello
    clients: str
    skew: float


# --- events, besides those of a run


@dataclass(frozen=True, slots=True)
class Greets:
    """An Envoy opens a session; its data were found to be as the federation's schema says."""

    envoy: str
    session: int
    hello: Hello
    clients: str


@dataclass(frozen=True, slots=True)
class HangsUp:
    """A session is over."""

    envoy: str
    session: int


@dataclass(frozen=True, slots=True)
class Says:
    """An Envoy says something in a session."""

    envoy: str
    session: int
    message: Beat | Answer | Result


@dataclass(frozen=True, slots=True)
class Submits:
    """An experiment was submitted; its files are on disk."""

    accepted: Accepted


@dataclass(frozen=True, slots=True)
class Concerns:
    """An event of one run."""

    run: str
    event: Event


@dataclass(frozen=True, slots=True)
class Removes:
    """A run that is over is to be forgotten."""

    run: str


@dataclass(frozen=True, slots=True)
class Expels:
    """An Envoy's certificate was revoked."""

    envoy: str


@dataclass(frozen=True, slots=True)
class Passes:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Begins:
    """The Director was started, perhaps again."""


@dataclass(frozen=True, slots=True)
class Drains:
    """Nothing new is to begin."""


class Director:
    """Everything that the Director knows.

    Args:
        facts: what it wrote down before, by run, in order.
        max_running: so many runs go on at once.
        patience: how long owners have to approve a run, in seconds.
        beat: how often an Envoy is to say that it is there, in seconds.
    """

    def __init__(
        self,
        facts: Iterable[object] = (),
        *,
        max_running: int = 1,
        patience: float = math.inf,
        beat: float = 20.0,
    ) -> None:
        self.max_running, self.patience, self.beat = max_running, patience, beat
        self.seats: dict[str, Seat] = {}
        self.runs: dict[str, Run] = _runs(facts)
        self.draining = False
        self._now = -math.inf

    def handle(self, event: Any, now: float) -> list[Any]:
        """What is to be done, in this order. `now` is in seconds since 1970."""
        due, self._now = self.wake <= now, now
        effects = list(self._HANDLERS[type(event)](self, event, now))
        if due and not isinstance(
            event, Passes
        ):  # it overtook the time that was awaited, and `wake` names that no more
            effects += self._passes(Passes(), now)
        return effects + self._next(now)

    @property
    def wake(self) -> float:
        """When time is the next event that matters, in seconds since 1970; infinite where it is not awaited."""
        times = [time for run in self.runs.values() for time in closing.moments(run)]
        patient = [run for run in self.runs.values() if run.phase is Phase.GATHERING]
        times += [run.gathering_since + self.patience for run in patient]
        return min((time for time in times if time > self._now), default=math.inf)

    def needed(self) -> frozenset[str]:
        """The blobs that must stay on disk."""
        return frozenset[str]().union(*(run.needed() for run in self.runs.values()))

    def online(self) -> list[str]:
        """The Envoys that have a session."""
        return [name for name, seat in self.seats.items() if seat.session is not None]

    # --- the Envoys

    def _greets(self, event: Greets, now: float) -> Iterator[Any]:
        envoy, hello = event.envoy, event.hello
        version = next((version for version in hello.versions if version in VERSIONS), None)
        if version is None:
            spoken = f"version {', '.join(map(str, VERSIONS))} of the protocol, the Envoy {hello.versions}"
            yield Send(envoy, Goodbye(f"the Director speaks {spoken}: install the same version of Hansa", again=False))
            return
        self.seats[envoy] = Seat(event.session, now, now, hello, event.clients, hello.clock - now)
        yield Send(envoy, Welcome(version, self.beat, now))
        for run in list(self.runs.values()):
            if self._invited(run, envoy):
                yield from self._step(run.id, Arrives(envoy, event.clients), now)

    def _hangs_up(self, event: HangsUp, now: float) -> Iterator[Any]:
        seat = self.seats.get(event.envoy)
        if seat is not None and seat.session == event.session:  # not one that was replaced by a newer
            self.seats[event.envoy] = replace(seat, session=None, since=now)
            for run in self._taking(event.envoy):
                yield from self._step(run, Leaves(event.envoy), now)

    def _says(self, event: Says, now: float) -> Iterator[Any]:
        envoy, message, seat = event.envoy, event.message, self.seats.get(event.envoy)
        if seat is None or seat.session != event.session:
            return
        self.seats[envoy] = replace(seat, heard=now)
        match message:
            case Beat():
                yield from self._beats(envoy, message, now)
            case Answer():
                yield from self._about(message.run, Consents(envoy, message, seat.clients), envoy, now)
            case Result() if message.client == envoy or message.client.startswith(envoy + "/"):
                yield from self._about(message.run, Answers(envoy, message), envoy, now)
            case Result():
                yield Send(
                    envoy, Goodbye(f"it answers for {message.client!r:.80}, and may for itself only", again=False)
                )

    def _beats(self, envoy: str, beat: Beat, now: float) -> Iterator[Any]:
        seat = self.seats[envoy]
        self.seats[envoy] = replace(seat, skew=beat.clock - now)
        for run in sorted(beat.known):
            if run not in self.runs:
                yield Send(envoy, Over(run, "there is no such run"))
        for each in list(self.runs.values()):
            if self._invited(each, envoy):
                yield from self._step(each.id, Beats(envoy, beat), now)

    def _expels(self, event: Expels, now: float) -> Iterator[Any]:
        seat = self.seats.get(event.envoy)
        if seat is not None:
            self.seats[event.envoy] = replace(seat, session=None, since=now)
        for run in self._taking(event.envoy):
            yield from self._step(run, Expelled(event.envoy), now)

    # --- the runs

    def _submits(self, event: Submits, now: float) -> Iterator[Any]:
        accepted = event.accepted
        if accepted.run in self.runs:
            return
        yield Record(accepted)
        self.runs[accepted.run] = begun(accepted)
        for envoy, seat in self.seats.items():
            if seat.session is not None and self.runs[accepted.run].chooses(envoy, seat.hello):
                yield from self._step(accepted.run, Arrives(envoy, seat.clients), now)
        yield Changed(accepted.run)

    def _removes(self, event: Removes, _now: float) -> Iterator[Any]:
        run = self.runs.get(event.run)
        if run is not None and run.phase.over:
            del self.runs[event.run]
            yield Changed(event.run)
            yield Forget(event.run)

    def _concerns(self, event: Concerns, now: float) -> Iterator[Any]:
        if event.run in self.runs:
            yield from self._step(event.run, event.event, now)

    def _passes(self, _event: Passes, now: float) -> Iterator[Any]:
        for run in list(self.runs.values()):
            yield from self._step(run.id, Tick(), now)

    def _begins(self, _event: Begins, now: float) -> Iterator[Any]:
        for run in list(self.runs.values()):
            yield from self._step(run.id, Restarts(), now)

    def _drains(self, _event: Drains, _now: float) -> Iterator[Any]:
        self.draining = True
        return iter(())

    def _about(self, run: str, event: Event, envoy: str, now: float) -> Iterator[Any]:
        known = self.runs.get(run)
        if known is None:
            yield Send(envoy, Over(run, "there is no such run"))
        elif self._invited(known, envoy):
            yield from self._step(run, event, now)
        else:
            yield Send(envoy, Over(run, "it is not asked to take part"))

    def _invited(self, run: Run, envoy: str) -> bool:
        """Whether a run is an Envoy's concern: it is chosen, or has joined, whatever its labels are now."""
        member = run.members.get(envoy)
        return (member is not None and member.joined) or run.chooses(envoy, self.seats[envoy].hello)

    def _step(self, run: str, event: Event, now: float) -> list[Any]:
        self.runs[run], effects = running.step(self.runs[run], event, now, self.patience)
        return effects

    def _taking(self, envoy: str) -> list[str]:
        return [run.id for run in self.runs.values() if envoy in run.members and not run.phase.over]

    def _next(self, now: float) -> list[Any]:
        """Give free places to the runs that have waited longest."""
        effects: list[Any] = []
        while not self.draining:
            busy = sum(run.phase in (Phase.GATHERING, Phase.RUNNING) for run in self.runs.values())
            waiting = next((run for run in self.runs.values() if run.phase is Phase.QUEUED), None)
            if waiting is None or busy >= self.max_running:
                break
            effects += self._step(waiting.id, Slot(), now)
        return effects

    _HANDLERS: Mapping[type, Any] = {
        Greets: _greets,
        HangsUp: _hangs_up,
        Says: _says,
        Expels: _expels,
        Submits: _submits,
        Removes: _removes,
        Concerns: _concerns,
        Passes: _passes,
        Begins: _begins,
        Drains: _drains,
    }


def _runs(facts: Iterable[object]) -> dict[str, Run]:
    """The runs that left these facts, in the order in which they were submitted."""
    written: dict[str, list[Any]] = {}
    for fact in facts:
        written.setdefault(fact.run, []).append(fact)  # type: ignore[attr-defined]  # every fact names its run
    return {run: restored(its) for run, its in written.items()}
