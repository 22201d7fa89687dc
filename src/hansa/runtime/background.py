"""An event loop in a thread of its own, for whoever is asynchronous inside and blocking outside.

This file must not know what runs in it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from hansa.errors import NotConnected

T = TypeVar("T")

SETTLE = 5.0
"""Seconds that what is under way has to end when the loop does."""


class Background:
    """A loop that runs until `end`.

    Args:
        name: the thread's.

    Attributes:
        running: it has not ended.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.SelectorEventLoop()  # see `hansa.runtime.loop`
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        self.running = True

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Let the loop do something.

        Raises:
            NotConnected: it has ended.
        """
        if not self.running:
            work.close()
            raise NotConnected("this connection was closed", hint="connect again")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop do something, and wait for it; Ctrl-C ends it too."""
        future = self.begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def end(self) -> None:
        """Stop the loop once nothing in it is under way: gRPC has tasks of its own that outlive a call by a moment."""
        if not self.running:
            return
        with suppress(CancelledError, TimeoutError):
            self.begin(_settled()).result(SETTLE)
        self.running = False
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _settled() -> None:
    """Cancel whatever else the loop does, and wait until it has ended."""
    others = asyncio.all_tasks() - {task for task in (asyncio.current_task(),) if task is not None}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
