"""An answer that is on its way is not said to be here, or it would be asked for again, and its update might be sent twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hansa.protocol import wire
from hansa.protocol.envoy import Cut, Decided, Envoy, Hears, Passes
from hansa.protocol.facts import Answered
from hansa.protocol.messages import Assign, Beat, Blob, Consent, Offer, Result, Welcome
from hansa.runtime.envoy.core import Core
from hansa.runtime.ledger import Ledger
from hansa.runtime.shelf import Shelf
from hansa.store.memory import MemoryBlobs, MemoryJournal

UPDATE = Blob("a" * 64, 100)
ASSIGN = Assign("run", 1, "alice", "train", 1, 0, Blob("b" * 64, 100), "{}", None, (), 0)


class Slow:
    """Delivers when it is let."""

    def __init__(self) -> None:
        self.begun, self.go, self.times = asyncio.Event(), asyncio.Event(), 0

    async def deliver(self, _told: Result) -> None:
        self.times += 1
        self.begun.set()
        await self.go.wait()

    async def fetched(self, _run: str, _blob: Blob) -> Path:
        raise AssertionError("nothing is fetched here")


async def consider(offer: Offer, _fetched: object) -> Decided:
    return Decided(offer.run, Consent.READY)


async def prepare(*_given: object) -> None:
    """There is nothing to prepare."""


def core(transfers: Slow, folder: Path) -> Core:
    """An Envoy that has an answer on its disk, and no session."""
    machine = Envoy([Answered("run", 1, "alice", UPDATE, 1.0, "{}")])
    approval = SimpleNamespace(consider=consider, package=lambda _run: (None, {}))
    collaborators = SimpleNamespace(progress={}, prepare=prepare)
    shelf = Shelf(MemoryBlobs(), lambda: machine.needed().keys(), lambda: 0.0)
    others: tuple[Any, Any, Any] = (collaborators, approval, transfers)
    return Core(machine, Ledger(MemoryJournal()), shelf, *others, folder)


async def said(envoy: Core, kind: type) -> Any:
    """The next message of a kind."""
    while True:
        name, frame = await asyncio.wait_for(envoy.outgoing.get(), 10)
        if name == kind.__name__:
            return wire.decode(frame)


async def beat(envoy: Core) -> bool:
    """Whether the next Beat says that the answer is here."""
    (holding,) = cast("Beat", await said(envoy, Beat)).holding
    return holding.answered


def test_an_answer_that_is_on_its_way_is_told_of_only_when_it_did_not_arrive(tmp_path: Path) -> None:
    async def story() -> None:
        transfers = Slow()
        envoy = core(transfers, tmp_path)
        await envoy.handle(Hears(Welcome(1, 0.0, 0.0)))
        assert await beat(envoy), "it is here, and the Director may not have it"
        await envoy.handle(Hears(Offer("run", Blob("c" * 64, 1), b"", b"")))
        while envoy.machine.jobs["run"].phase.value != "ready":
            await asyncio.sleep(0)
        await envoy.handle(Hears(ASSIGN))
        await transfers.begun.wait()
        await envoy.handle(Passes())
        assert not await beat(envoy), "its update is being sent"
        transfers.go.set()
        await said(envoy, Result)
        await envoy.handle(Passes())
        assert not await beat(envoy), "its Result was said, in this session"
        await envoy.handle(Cut())
        envoy.begin_session()
        await envoy.handle(Hears(Welcome(1, 0.0, 0.0)))
        assert await beat(envoy), "another session does not know what arrived in the last"
        assert transfers.times == 1

    asyncio.run(asyncio.wait_for(story(), 20))
