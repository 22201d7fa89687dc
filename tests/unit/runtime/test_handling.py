"""What follows from an event is done to its end: whoever told of it may be gone, and a fact on disk keeps its effects."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hansa.errors import StoreError
from hansa.protocol.effects import Record, TellChild
from hansa.protocol.facts import Ended
from hansa.runtime.handling import Handling
from hansa.runtime.ledger import Ledger
from hansa.runtime.turns import Turns
from hansa.store.memory import MemoryJournal
from hansa.store.port import Record as Written


class Echo:
    """Writes an event down, and then tells of it."""

    def handle(self, event: Any, now: float) -> list[Any]:
        return [Record(Ended(event, "finished", "", now, None, "")), TellChild(event, {"wrote": event})]


class Slow(MemoryJournal):
    """Writes when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go = threading.Event(), threading.Event()

    def append(self, records: Sequence[Written], **options: Any) -> None:
        self.began.set()
        assert self.go.wait(10)
        super().append(records, **options)


class Broken(MemoryJournal):
    def append(self, records: Sequence[Written], **options: Any) -> None:  # noqa: ARG002 - the port's names
        raise StoreError("the disk is broken")


def handled(journal: MemoryJournal, story: Callable[[Handling, list[str]], Any]) -> list[str]:
    """Let a story happen; what was told in it."""
    told = list[str]()

    async def tell(effect: Any) -> None:
        told.append(effect.say["wrote"])

    async def run() -> None:
        await story(Handling("director", Echo(), Ledger(journal), tell), told)

    asyncio.run(asyncio.wait_for(run(), 20))
    return told


def test_who_tells_of_an_event_and_goes_while_it_is_written_leaves_no_effect_undone() -> None:
    journal = Slow()

    async def story(handling: Handling, told: list[str]) -> None:
        caller = asyncio.create_task(handling.handle("first"))
        await asyncio.to_thread(journal.began.wait, 10)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert not told
        journal.go.set()
        await handling.handle("second")

    assert handled(journal, story) == ["first", "second"]


def test_a_fact_that_cannot_be_written_ends_it_and_nothing_after_it_is_done(caplog: pytest.LogCaptureFixture) -> None:
    async def story(handling: Handling, _told: list[str]) -> None:
        with pytest.raises(StoreError, match="the disk is broken"):
            await handling.handle("first")
        with pytest.raises(StoreError, match="the disk is broken"):
            await handling.failed

    assert handled(Broken(), story) == []


def test_what_fails_when_its_caller_has_gone_is_told(caplog: pytest.LogCaptureFixture) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        begun.set()
        await go.wait()
        raise ValueError("too late for anybody")

    async def story() -> None:
        turns = Turns()
        caller = asyncio.create_task(turns.take(fails))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go.set()
        await turns.take(lambda: asyncio.sleep(0))

    with caplog.at_level(logging.ERROR, "hansa.turns"):
        asyncio.run(asyncio.wait_for(story(), 10))
    assert "too late for anybody" in caplog.text


def test_what_is_under_way_or_waits_is_left_off_at_the_end() -> None:
    async def story() -> None:
        turns, done = Turns(), list[int]()

        async def never() -> None:
            await asyncio.Event().wait()
            done.append(1)

        async def next_one() -> None:
            done.append(2)

        callers = [asyncio.create_task(turns.take(never)), asyncio.create_task(turns.take(next_one))]
        await asyncio.sleep(0)
        await turns.close()
        assert all(
            isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*callers, return_exceptions=True)
        )
        assert done == []

    asyncio.run(asyncio.wait_for(story(), 10))
