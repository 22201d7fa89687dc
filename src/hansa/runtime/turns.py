"""One thing at a time, and each to its end.

Who waits for one may be cancelled, as a call is whose connection broke; what was begun is done all the same. Else a fact could
be on disk whose effects nobody does any more. This file must not know what is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_log = logging.getLogger("hansa.turns")

T = TypeVar("T")


class Turns:
    """Who comes first is served first."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def take(self, what: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something when those before are done, and return what it returned; what it raises is raised to who waits."""
        task = asyncio.create_task(self._in_turn(what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_told)
            raise

    async def close(self) -> None:
        """Leave off, whatever is under way: for a process that ends, and goes on from its disk."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _in_turn(self, what: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with self._turn:
            return await what()


def _told(task: asyncio.Task[Any]) -> None:
    """What went wrong after nobody waited for it any more."""
    if not task.cancelled() and (problem := task.exception()) is not None:
        _log.error("what was begun for a caller that has gone failed", exc_info=problem)
