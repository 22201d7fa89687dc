"""Who is gone is found out, and who is only slow is not given up."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from hansa.transport.websocket.pulse import Accepted, Dialled, beat, moved


class Fake:
    """A connection that answers pings, or does not."""

    def __init__(self, *, answers: int = 0) -> None:
        self.answers, self.pings, self.aborted = answers, 0, False
        self.transport = self

    def abort(self) -> None:
        self.aborted = True

    async def ping(self) -> asyncio.Future[float]:
        self.pings += 1
        if self.pings > 50:
            raise ConnectionClosedError(None, None)
        pong = asyncio.get_running_loop().create_future()
        if self.pings <= self.answers:
            pong.set_result(0.0)
        return pong


def beaten(socket: Any, look: Any) -> None:
    asyncio.run(beat(socket, ping=0.0, pong=0.001, look=look))


def test_who_answers_no_ping_and_moves_nothing_is_given_up() -> None:
    fake = Fake(answers=3)
    beaten(fake, lambda _: 0)
    assert (fake.pings, fake.aborted) == (4, True)


def test_who_moves_something_meanwhile_is_not_given_up() -> None:
    fake, count = Fake(), itertools.count()
    beaten(fake, lambda _: next(count) // 2)  # silent at each second look, and something has moved by the next
    assert (fake.pings, fake.aborted) == (51, False)


def test_who_is_not_silent_is_not_pinged() -> None:
    fake, count = Fake(), itertools.count()

    def look(_: object) -> int:
        if (number := next(count)) == 100:
            raise ConnectionClosedError(None, None)
        return number

    beaten(fake, look)
    assert (fake.pings, fake.aborted) == (0, False)


def test_who_takes_no_ping_is_given_up_too() -> None:
    class Full(Fake):
        async def ping(self) -> asyncio.Future[float]:
            await asyncio.Event().wait()
            raise AssertionError

    fake = Full()
    beaten(fake, lambda _: 0)
    assert fake.aborted


def test_a_connection_whose_other_side_reads_nothing_more_is_broken_off() -> None:
    async def run() -> None:
        over = asyncio.Event()

        async def stuck(socket: ServerConnection) -> None:
            socket.transport.pause_reading()
            await socket.send(b"x" * 1000)
            async with asyncio.timeout(5.0):
                await over.wait()
            socket.transport.abort()

        async with serve(stuck, "127.0.0.1", 0, create_connection=Accepted, ping_interval=None) as server:
            port = server.sockets[0].getsockname()[1]
            socket = await connect(
                f"ws://127.0.0.1:{port}", create_connection=Dialled, compression=None, ping_interval=None
            )
            assert isinstance(socket, Dialled)
            await socket.recv()
            assert moved(socket)[0] == socket.received > 1000
            await beat(socket, ping=0.01, pong=0.05)
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            over.set()

    asyncio.run(run())


def test_it_ends_when_it_is_cancelled() -> None:
    async def run() -> None:
        task = asyncio.create_task(beat(Fake(answers=99), ping=60.0, look=lambda _: 0))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
