"""Events go into a state machine one at a time; its facts are on disk before the effects after them are done.

This file must not know what the machine decides, nor what its effects do.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from hansa.errors import StoreError
from hansa.protocol.effects import Record
from hansa.runtime.ledger import Ledger
from hansa.runtime.points import passes
from hansa.runtime.turns import Turns


class Machine(Protocol):
    """Decides what follows from an event."""

    def handle(self, event: Any, now: float) -> list[Any]:
        """What is to be done, in this order. `now` is in seconds since 1970."""
        ...


class Handling:
    """Handles events.

    Args:
        who: handles them, for the names of `hansa.runtime.points`.
        machine: decides.
        ledger: where facts go.
        does: does an effect that is no fact.
        recorded: is told of every fact that is on disk, if anybody is to be.

    Attributes:
        turns: what is done one at a time.
        woken: is set after every event.
        failed: is set to what ended it: a fact could not be written, so that the machine is ahead of the disk. What is on disk
            is whole, and whoever is started anew goes on from there.
    """

    def __init__(
        self,
        who: str,
        machine: Machine,
        ledger: Ledger,
        does: Callable[[Any], Awaitable[None]],
        recorded: Callable[[Any], None] | None = None,
    ) -> None:
        self._who, self._machine, self._ledger, self._does, self._recorded = who, machine, ledger, does, recorded
        self.turns, self.woken = Turns(), asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handle(self, event: Any) -> None:
        """Let an event happen. When this returns, all that follows from it is done; it is, too, when its caller has gone."""
        await self.turns.take(lambda: self._handle(event))

    def fail(self, problem: BaseException) -> None:
        """It cannot go on."""
        if not self.failed.done():
            self.failed.set_exception(problem)

    async def _handle(self, event: Any) -> None:
        effects = self._machine.handle(event, time.time())
        for records, group in itertools.groupby(effects, lambda effect: isinstance(effect, Record)):
            if records:
                await self._record([effect.fact for effect in group])
            else:
                for effect in group:
                    await self._does(effect)
        self.woken.set()

    async def _record(self, facts: list[Any]) -> None:
        for fact in facts:
            passes(f"{self._who}: {type(fact).__name__} not recorded")
        try:
            await self._ledger.record(facts)
        except StoreError as problem:
            self.fail(problem)
            raise
        for fact in facts:
            passes(f"{self._who}: {type(fact).__name__} recorded")
            if self._recorded is not None:
                self._recorded(fact)
