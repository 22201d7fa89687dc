"""A model of what runs the Director's machine: its journal and blobs, its sessions, the children, and time."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

from hansa.protocol.director import Begins, Concerns, Director, Expels, Greets, HangsUp, Passes, Says, Submits
from hansa.protocol.effects import Changed, Discard, Forget, Record, Send, StartChild, StopChild, TellChild
from hansa.protocol.events import ChildEnds
from hansa.protocol.facts import Accepted
from hansa.protocol.messages import Blob, Hello, Result
from hansa.protocol.run import Run
from hansa.testing.world.aggregator import Aggregator
from hansa.testing.world.clock import Process
from hansa.testing.world.disk import Disk
from hansa.testing.world.network import Session

if TYPE_CHECKING:
    from hansa.testing.world.world import World


class Watched(Director):
    """The real machine; whoever is interested sees which run is given which event."""

    world: World

    def _step(self, run: str, event: Any, now: float) -> list[Any]:
        self.world.checks.steps(self.runs[run], event)
        return super()._step(run, event, now)


class Child:
    """A run's Aggregator, and the pipes to and from it; `last` is when what it said last arrives."""

    def __init__(self) -> None:
        self.program: Aggregator | None = None
        self.heard: deque[Any] = deque()
        self.busy = False
        self.last = 0.0


class Centre(Process):
    """The Director's process.

    Attributes:
        machine: the real one, while it is up.
        disk: what survives.
        incoming: the updates that were uploaded, and whose results have not come: by run, ask and client.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world.clock)
        self.world = world
        self.disk = Disk(world.checks.written)
        self.machine: Director = Director()
        self.children: dict[str, Child] = {}
        self.sessions: dict[str, Session] = {}
        self.incoming: dict[tuple[str, int, str], Blob] = {}
        self.make: type[Watched] = Watched
        self._tick = 0.0

    # --- its life

    def start(self) -> None:
        """From what is on disk."""
        self.up = True
        self.world.trace("director", "starts")
        plan = self.world.plan
        machine = self.make.__new__(self.make)
        machine.world = self.world
        machine.__init__(  # type: ignore[misc]  # the world must be there before the facts are folded
            self.disk.facts(), max_running=plan.max_running, patience=plan.patience, beat=plan.beat
        )
        self.machine, self.children, self.sessions, self.incoming = machine, {}, {}, {}
        self.world.checks.restarted(self)
        self._tick = 0.0
        self.disk.sweep({run.id: run.needed() for run in machine.runs.values()})
        self.handle(Begins())
        for envoy in sorted(self.world.revoked):
            self.handle(Expels(envoy))
        self.later(plan.beat, self._look)

    def crash(self) -> None:
        """Everything but the disk is gone; it is started again soon."""
        super().crash()
        self.world.trace("director", "CRASHES")
        for session in self.sessions.values():
            session.cut()
        self.clock.after(self.world.rng.uniform(0.5, 20.0), self.start)

    def handle(self, event: Any, *brought: Blob | None, run: str = "") -> None:
        """An event, and the blobs that it brings, which are on disk before."""
        if not self.up:
            return
        self.world.trace("director", "<-", event)
        self.disk.keep(run, brought)
        self.world.checks.before(self)
        effects = self.machine.handle(event, self.clock.now)
        if self.perform(effects):
            self._tidy(run, brought)
            self.world.checks.after(self, event)
            self._plan_tick()

    def perform(self, effects: list[Any]) -> bool:
        """Do what is to be done; False where it crashed in between."""
        for effect in effects:
            if self.world.strikes(self.world.plan.faults.director):
                self.crash()
                return False
            self.world.trace("director", "  ->", effect)
            self._do(effect)
        return True

    def _do(self, effect: Any) -> None:
        self.world.checks.director_does(effect, self)
        match effect:
            case Record():
                self.disk.record(effect.fact)
            case Send():
                if effect.envoy in self.sessions and self.sessions[effect.envoy].here:
                    self.sessions[effect.envoy].send("envoy", effect.message)
            case StartChild():
                self._start_child(effect.run)
            case StopChild():
                self.children.pop(effect.run, None)
            case TellChild():
                self._tell_child(effect.run, effect.say)
            case Discard():
                self.disk.discard(effect.run, effect.blobs)
            case Forget():
                self.disk.forget(effect.run)
                self.world.checks.forgotten(effect.run)
            case Changed():
                pass
            case _:
                raise TypeError(f"no effect of a Director: {effect!r}")

    def _tidy(self, run: str, brought: tuple[Blob | None, ...]) -> None:
        """What was brought along and is not wanted; what was uploaded, and is of no use any more."""
        for key in [key for key in self.incoming if not self._expects(*key)]:
            self._drop_unless_needed(key[0], self.incoming.pop(key))
        for blob in brought:
            self._drop_unless_needed(run, blob)

    def _drop_unless_needed(self, run: str, blob: Blob | None) -> None:
        known = self.machine.runs.get(run)
        if blob is not None and (known is None or blob.sha256 not in known.needed()):
            self.disk.discard(run, [blob.sha256])

    def _plan_tick(self) -> None:
        wake, before = self.machine.wake, self._tick
        self._tick = wake  # what was planned before is void, as it is for a runtime that waits for one time only
        if wake != float("inf") and wake != before:
            late = self.world.rng.uniform(0.0, 0.8)  # as timers are
            self.later(max(wake - self.clock.now, 0.0) + late, self._ticks, wake)

    def _ticks(self, wake: float) -> None:
        if wake == self._tick:
            self.handle(Passes())

    def _look(self) -> None:
        """End the sessions in which nothing was heard for long."""
        for name, session in list(self.sessions.items()):
            seat = self.machine.seats.get(name)
            if (
                seat is not None
                and seat.session == session.number
                and seat.heard < self.clock.now - 3 * self.machine.beat
            ):
                session.cut()
        self.later(self.machine.beat, self._look)

    # --- its Envoys

    def greeted(self, session: Session, hello: Hello) -> None:
        """An Envoy dials."""
        envoy = session.envoy
        if not self.up or envoy in self.world.revoked:
            return
        self.sessions[envoy] = session
        clients = {client: {"train": 10 + place} for place, client in enumerate(self.world.plan.clients[envoy])}
        self.handle(Greets(envoy, session.number, hello, json.dumps(clients)))

    def hears(self, session: Session, message: Any) -> None:
        """A frame, or None where a session is over."""
        if not self.up:
            return
        if message is None:
            self.handle(HangsUp(session.envoy, session.number))
        elif isinstance(message, Result) and message.update is not None:
            key = message.run, message.ask, message.client
            if self.incoming.get(key) != message.update and self._expects(*key):
                return  # the Envoy is asked again when it says that it has it
            self.handle(Says(session.envoy, session.number, message))
        else:
            self.handle(Says(session.envoy, session.number, message))

    def _expects(self, run: str, ask: int, client: str) -> bool:
        known = self.machine.runs.get(run)
        visit = known.visits.get((ask, client)) if known is not None else None
        return visit is not None and visit.came is None

    def uploaded(self, result: Result) -> str | None:
        """An update's blob comes; whether it is welcome or not, the result may follow."""
        if not self.up:
            return None
        key = result.run, result.ask, result.client
        if result.update is not None and self._expects(*key):
            self.incoming[key] = result.update
            self.disk.keep(result.run, [result.update])
        return "received"

    def downloaded(self, blobs: tuple[Blob, ...]) -> str | None:
        """Blobs are asked for; None where one is not there."""
        return "sent" if self.up and all(self.disk.has(blob) for blob in blobs) else None

    # --- users

    def submitted(self, accepted: Accepted) -> str | None:
        """A user submits; the answer is the run's id."""
        if not self.up:
            return None
        for run in self.machine.runs.values():
            if run.submission.key == accepted.key:
                return run.id
        self.handle(Submits(accepted), accepted.manifest, *accepted.blobs, run=accepted.run)
        return accepted.run if accepted.run in self.machine.runs and self.alive else None

    def known(self, run: str) -> Run | None:
        """A run, as the machine sees it."""
        return self.machine.runs.get(run) if self.up else None

    # --- children

    def _start_child(self, run: str) -> None:
        child = self.children[run] = Child()
        self.later(self.world.rng.uniform(0.1, 1.0), self._child_begins, run, child)

    def _child_begins(self, run: str, child: Child) -> None:
        if self.children.get(run) is not child:
            return
        world = self.world

        def out(event: Any, blobs: tuple[Blob | None, ...]) -> None:
            self._says_later(child, run, event, blobs)

        told = self.machine.runs[run].told
        world.checks.child_starts(run, told, self)
        child.program = Aggregator(world.experiment(run), world.library, told, out)
        child.program.begin()
        self._child_works(run, child)

    def _tell_child(self, run: str, say: Any) -> None:
        child = self.children.get(run)
        if child is not None:
            child.heard.append(json.loads(json.dumps(say)))
            self._child_works(run, child)

    def _child_works(self, run: str, child: Child) -> None:
        if child.heard and child.program is not None and not child.busy and not child.program.over:
            child.busy = True
            self.later(self.world.rng.uniform(0.01, 0.2), self._child_hears, run, child)

    def _child_hears(self, run: str, child: Child) -> None:
        if self.children.get(run) is not child or child.program is None:
            return
        child.busy = False
        if self.world.strikes(self.world.plan.faults.aggregator):
            del self.children[run]
            self.world.trace("aggregator", run, "CRASHES")
            self._says_later(child, run, ChildEnds("it was killed"), ())
            return
        say = child.heard.popleft()
        if say.get("arrived", {}).get("update") is not None and child.program.work:
            self.world.checks.child_reads(run, say["arrived"]["update"])
        child.program.hear(say)
        self.world.people.notices(run, child.program.over)
        if child.program.over:
            self._says_later(child, run, ChildEnds("it had nothing more to do"), ())
        else:
            self._child_works(run, child)

    def _says_later(self, child: Child, run: str, event: Any, blobs: tuple[Blob | None, ...]) -> None:
        child.last = max(child.last, self.clock.now + self.world.rng.uniform(0.01, 0.15))
        self.later(child.last - self.clock.now, self._child_says, run, event, blobs)

    def _child_says(self, run: str, event: Any, blobs: tuple[Blob | None, ...]) -> None:
        self.handle(Concerns(run, event), *blobs, run=run)
