"""A token bucket under a clock of its own: nobody sleeps."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from hansa.runtime.envoy.bandwidth import BURST, Bucket


class Clock:
    """Time that passes only when everybody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, len(self._sleepers), woken))
        await woken

    async def run(self, *work: Coroutine[Any, Any, None]) -> None:
        """Do all of it."""
        tasks = [asyncio.ensure_future(each) for each in work]
        while not all(task.done() for task in tasks):
            for _ in range(10):
                await asyncio.sleep(0)
            if self._sleepers:
                self.now, _, woken = heapq.heappop(self._sleepers)
                woken.set_result(None)
        for task in tasks:
            task.result()


async def chunks(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(size)


def timed(rate: float, work: Callable[[Bucket, Clock], list[Coroutine[Any, Any, None]]]) -> float:
    """How long it takes, in seconds of the clock."""

    async def run() -> float:
        clock = Clock()
        began = clock()
        await clock.run(*work(Bucket(rate, clock, clock.sleep), clock))
        return clock() - began

    return asyncio.run(run())


@pytest.mark.parametrize(("rate", "size"), [(1000.0, 100), (125_000.0, 32_768), (10.0, 1)])
def test_so_many_bytes_a_second_pass_and_a_quarter_of_a_second_at_once(rate: float, size: int) -> None:
    async def all_of_them(bucket: Bucket) -> None:
        async for _ in bucket.paced(chunks(40, size)):
            pass

    took = timed(rate, lambda bucket, _: [all_of_them(bucket)])
    assert took == pytest.approx(40 * size / rate - BURST)


def test_without_a_limit_nobody_waits() -> None:
    async def all_of_them(bucket: Bucket) -> None:
        async for _ in bucket.paced(chunks(40, 10**6)):
            pass

    assert timed(math.inf, lambda bucket, _: [all_of_them(bucket)]) == 0


def test_transfers_share_fairly_and_a_short_one_does_not_wait_for_a_long_one() -> None:
    ended: dict[str, float] = {}

    async def one(name: str, bucket: Bucket, clock: Clock, count: int) -> None:
        async for _ in bucket.paced(chunks(count, 100)):
            pass
        ended[name] = clock()

    took = timed(
        1000.0,
        lambda bucket, clock: [
            one("long", bucket, clock, 100),
            one("short", bucket, clock, 10),
            one("other", bucket, clock, 100),
        ],
    )
    assert took == pytest.approx(210 * 100 / 1000 - BURST)
    assert ended["short"] - 100.0 == pytest.approx(3 * 10 * 100 / 1000 - BURST, abs=0.2), "a third of the bandwidth"
    assert abs(ended["long"] - ended["other"]) <= BURST + 0.1, "but for what silence gave the first"


def test_silence_is_not_saved_up() -> None:
    async def with_a_pause(bucket: Bucket, clock: Clock) -> None:
        await bucket.take(100)
        await clock.sleep(60)
        for _ in range(10):
            await bucket.take(100)

    assert timed(100.0, lambda bucket, clock: [with_a_pause(bucket, clock)]) == pytest.approx(0.75 + 60 + 10 - BURST)


def test_what_is_read_is_closed_when_the_reader_leaves() -> None:
    closed = []

    async def source() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    async def run() -> None:
        paced = Bucket().paced(source())
        assert await anext(paced) == b"x"
        await paced.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(run())
    assert closed == [True]
