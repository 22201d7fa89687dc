"""The heart of a Director: events go into the state machine one at a time, and its effects are done in order.

So nothing is sent, and no child is told, before the facts that stand before it are on disk.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hansa.protocol import wire
from hansa.protocol.director import Begins, Concerns, Director, Expels, Greets, HangsUp, Passes, Says
from hansa.protocol.effects import Changed, Discard, Forget, Send, StartChild, StopChild, TellChild
from hansa.protocol.events import Event
from hansa.protocol.messages import Beat, Blob, Goodbye, Hello, Result
from hansa.protocol.peer import Peer
from hansa.protocol.visiting import assign
from hansa.runtime.director import reports
from hansa.runtime.director.aggregators import LOG, Aggregators
from hansa.runtime.handling import Handling
from hansa.runtime.ledger import Ledger
from hansa.runtime.points import passes
from hansa.runtime.shelf import Shelf

SILENCE = 3
"""So many signs of life may be missing before an Envoy counts as gone."""

TIDY = 60.0
"""Seconds between two looks for files that nobody needs."""

_log = logging.getLogger("hansa.director")


class Session:
    """One session of one Envoy: what is to be sent in it."""

    def __init__(self, number: int, peer: Peer) -> None:
        self.number, self.peer = number, peer
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, message: Any) -> None:
        """Put a message into the queue."""
        self._outgoing.put_nowait(wire.encode(message))
        if isinstance(message, Goodbye):
            self.close()

    def close(self) -> None:
        """End it after what is in the queue."""
        self._outgoing.put_nowait(None)

    async def __aiter__(self) -> Any:
        """What is to be sent, as it comes."""
        while (frame := await self._outgoing.get()) is not None:
            yield frame


class Core:
    """A Director's state machine, and whoever does what it wants.

    Args:
        machine: restored from the ledger.
        ledger: where facts go.
        shelf: where blobs lie.
        aggregators: the child processes.
        folder: the runs' own folders.

    Attributes:
        sessions: the present ones, by Envoy.
        progress: how far works are, steps done and of how many, as Envoys last told, by Envoy; then by run, ask and client.
        stopping: is set when somebody wants the Director to stop.
        handle, failed: see `Handling`.
    """

    def __init__(self, machine: Director, ledger: Ledger, shelf: Shelf, aggregators: Aggregators, folder: Path) -> None:
        self.machine, self.ledger, self.shelf, self.folder = machine, ledger, shelf, folder
        self.sessions: dict[str, Session] = {}
        self.progress: dict[str, dict[tuple[str, int, str], tuple[int, int]]] = {}
        self._aggregators, self._numbers = aggregators, itertools.count(1)
        self._handling = Handling("director", machine, ledger, self._do, self._recorded)
        self.handle, self.failed = self._handling.handle, self._handling.failed
        self._changes: dict[str, asyncio.Event] = {}
        self._entries: dict[str, list[str]] = {}
        self.stopping = asyncio.Event()
        aggregators.tell = self.concern

    async def start(self) -> None:
        """Go on with whatever was running when the Director last stopped."""
        await self.shelf.resume()
        await self.handle(Begins())

    def _recorded(self, fact: Any) -> None:
        if fact.run in self._entries:
            self._entries[fact.run] += reports.entries([fact])

    async def entries(self, run: str) -> list[str]:
        """The entries of a run's History so far, as JSON texts."""
        if run not in self._entries:
            before = self.machine.runs[run].submission.resumes
            resumed = await self.entries(before) if before in self.machine.runs else []
            await self._handling.turns.take(lambda: self._read_entries(run, resumed))
        return list(self._entries[run])

    async def _read_entries(self, run: str, resumed: list[str]) -> None:
        facts = await asyncio.to_thread(self.ledger.facts, run)
        self._entries[run] = resumed + reports.entries(facts)

    async def printed(self, run: str, client: str) -> str:
        """What was printed at the owners who let that leave, and by the Aggregator; of one client, where one is named."""
        facts = await asyncio.to_thread(self.ledger.facts, run)
        text = reports.printed(facts, client)
        log = self.folder / run / LOG
        if not client and log.exists():
            text += await asyncio.to_thread(reports.last_lines, log)
        return text

    async def stop(self) -> None:
        """Handle nothing more: what was recorded goes on when the Director is started again."""
        await self._handling.turns.close()
        await self._aggregators.stop_all()

    async def concern(self, run: str, event: Event, blobs: tuple[Blob, ...] = ()) -> None:
        """Let an event of one run happen, which names these blobs: from now on only the run says how long they stay."""
        await self.handle(Concerns(run, event))
        for blob in blobs:
            await self.shelf.release(blob.sha256, run)

    @property
    def full_children(self) -> Mapping[str, str]:
        """For each run whose Aggregator finds the disk full, what it says."""
        return self._aggregators.full

    async def keep_time(self) -> None:
        """Let time pass: deadlines, Envoys that fall silent, and now and then a look for litter. Until it is cancelled."""
        tidy, patrol = time.monotonic() + TIDY, time.monotonic() + self.machine.beat
        while True:
            self._handling.woken.clear()
            wait = min(self.machine.wake - time.time(), min(tidy, patrol) - time.monotonic())
            try:
                async with asyncio.timeout(wait):  # wait_for of Python 3.11 loses cancellations
                    await self._handling.woken.wait()
            except TimeoutError:
                await self.handle(Passes())
            if time.monotonic() >= patrol:
                self._dismiss_the_silent()
                patrol = time.monotonic() + self.machine.beat
            if time.monotonic() >= tidy:
                await self.shelf.tidy()
                tidy = time.monotonic() + TIDY

    def _dismiss_the_silent(self) -> None:
        """End the sessions of Envoys that say nothing any more, whose process hangs: their connection alone proves nothing."""
        for name, session in self.sessions.items():
            seat = self.machine.seats.get(name)
            silence = time.time() - seat.heard if seat is not None else 0.0
            if silence > SILENCE * self.machine.beat:
                _log.warning("envoy %s has said nothing for %.0f s: its session ends", name, silence)
                session.send(Goodbye(f"nothing was heard for {silence:.0f} s", again=True))

    # --- sessions

    async def greet(self, peer: Peer, hello: Hello, clients: str) -> Session:
        """Open a session; an older one of the same Envoy ends."""
        session = Session(next(self._numbers), peer)
        if (older := self.sessions.get(peer.name)) is not None:
            older.close()
        self.sessions[peer.name] = session
        await self.handle(Greets(peer.name, session.number, hello, clients))
        _log.info("envoy %s is here", peer.name)
        return session

    async def hear(self, session: Session, message: Any) -> None:
        """An Envoy says something in its session. It is asked again for a result whose update it has not sent, whole."""
        name = session.peer.name
        if isinstance(message, Beat):
            told = {(each.run, each.ask, each.client): (each.done, each.of) for each in message.holding if each.done}
            self.progress[name] = told
        update: Blob | None = message.update if isinstance(message, Result) else None
        if update is None:
            await self.handle(Says(name, session.number, message))
            return
        with self.shelf.holding([update.sha256]):
            if not self.shelf.has(update, name) and self._asks_again(session, message):
                return
            await self.handle(Says(name, session.number, message))
        await self.shelf.release(update.sha256, name)

    def _asks_again(self, session: Session, result: Result) -> bool:
        """Whether a result without its update is still wanted. If so, who owes it is asked again."""
        run = self.machine.runs.get(result.run)
        visit = run.visits.get((result.ask, result.client)) if run is not None else None
        if run is None or visit is None or visit.came is not None:
            return False
        if visit.part.envoy == session.peer.name:
            session.send(assign(run, visit))
        return True

    async def part(self, session: Session) -> None:
        """A session is over."""
        if self.sessions.get(session.peer.name) is session:
            del self.sessions[session.peer.name]
            self.progress.pop(session.peer.name, None)
            _log.info("envoy %s has gone", session.peer.name)
        await self.handle(HangsUp(session.peer.name, session.number))

    async def expel(self, serials: frozenset[str], names: Iterable[str]) -> None:
        """Certificates were revoked or have expired: their sessions end. These names have no other: their part is over."""
        for name, session in list(self.sessions.items()):
            if session.peer.serial in serials:
                _log.warning("envoy %s is expelled: its certificate is no longer good", name)
                session.close()
                self.sessions.pop(name, None)
                await self.handle(HangsUp(name, session.number))
        for name in names:
            await self.handle(Expels(name))

    # --- followers

    async def changed(self, run: str) -> None:
        """Wait until something new can be seen of a run."""
        await self._changes.setdefault(run, asyncio.Event()).wait()

    # --- effects

    async def _do(self, effect: Any) -> None:
        await self._EFFECTS[type(effect)](self, effect)

    async def _send(self, effect: Send) -> None:
        passes(f"director: {type(effect.message).__name__} not sent")
        session = self.sessions.get(effect.envoy)
        if session is not None:
            if isinstance(effect.message, Goodbye):
                _log.warning("envoy %s is sent away: %s", effect.envoy, effect.message.why)
            session.send(effect.message)

    async def _start_child(self, effect: StartChild) -> None:
        run = self.machine.runs[effect.run]
        self._aggregators.start(run, self.folder / run.id)

    async def _stop_child(self, effect: StopChild) -> None:
        await self._aggregators.stop(effect.run)
        await asyncio.to_thread(shutil.rmtree, self.folder / effect.run / "scratch", ignore_errors=True)

    async def _tell_child(self, effect: TellChild) -> None:
        passes(f"director: {next(iter(effect.say))} not said")
        await self._aggregators.say(effect.run, effect.say)

    async def _discard(self, effect: Discard) -> None:
        await self.shelf.discard(effect.blobs)

    async def _changed(self, effect: Changed) -> None:
        if (event := self._changes.pop(effect.run, None)) is not None:
            event.set()
        run = self.machine.runs.get(effect.run)
        if run is not None:
            _log.info("run %s: %s%s", run.id, run.phase, f": {run.why.splitlines()[0]}" if run.why else "")

    async def _forget(self, effect: Forget) -> None:
        self._entries.pop(effect.run, None)
        await self.ledger.forget(effect.run)
        await self.shelf.tidy()
        await asyncio.to_thread(shutil.rmtree, self.folder / effect.run, ignore_errors=True)

    _EFFECTS: Mapping[type, Any] = {
        Send: _send,
        StartChild: _start_child,
        StopChild: _stop_child,
        TellChild: _tell_child,
        Discard: _discard,
        Changed: _changed,
        Forget: _forget,
    }
