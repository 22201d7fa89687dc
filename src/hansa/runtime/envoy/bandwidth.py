"""Bandwidth: how fast an Envoy's transfers may be, all of them together. This file must not know what is transferred."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from hansa.transport.frames import closing

BURST = 0.25
"""Seconds of silence that count: so much may pass at once after it."""


class Bucket:
    """Lets so many bytes a second pass. Those who ask take turns, in the order in which they ask.

    A transfer that has one chunk on its way at a time, as all do, gets its fair share of the turns.

    Args:
        rate: bytes a second; infinite for no limit.
        clock: seconds, from any origin.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        rate: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._free = -math.inf

    async def take(self, count: int) -> None:
        """Wait until so many bytes may pass."""
        now = self._clock()
        self._free = max(self._free, now - BURST) + count / self._rate
        if self._free > now:
            await self._sleep(self._free - now)

    async def paced(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same chunks, each when it may pass."""
        async with closing(chunks):
            async for chunk in chunks:
                await self.take(len(chunk))
                yield chunk
