"""A bad link: a TCP proxy as slow, as late and as unreliable as one asks, that counts what it carries.

It stands between two real processes. This file must not know what they say to each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

PIECE = 4096
"""Bytes that are passed on at a time; so few that a cut falls between any two."""

BUFFER = 2**15
"""Bytes that the system keeps for a connection at either side of the link, about."""


@dataclass(frozen=True)
class Quality:
    """How a link is.

    Attributes:
        rate: bytes a second, each way, over all connections.
        delay: seconds that everything takes, each way.
    """

    rate: float = math.inf
    delay: float = 0.0


class BadLink:
    """Listens on loopback, and passes every connection on to a server on this machine. Use it in a `with` block.

    Its methods may be called from any thread.

    Args:
        port: of the server.
        quality: of the link.

    Attributes:
        port: where to dial instead.
        up: bytes that went to the server.
        down: bytes that came from it.
        connections: that were made over it, so far.
        whole: whether connections can be made.
    """

    def __init__(self, port: int, quality: Quality = Quality()) -> None:
        self._server, self._quality = port, quality
        self.port = self.up = self.down = self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bad-link", daemon=True)
        self.whole, self._last = True, math.inf
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = {"up": -math.inf, "down": -math.inf}

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> int:
        """End every connection; what was on its way is lost. New ones may be made at once. Returns how many there were."""
        return int(self._run(self._cut()))

    def part(self) -> None:
        """Cut, and let nobody connect until `mend`."""
        self.whole = False
        self.cut()

    def part_after(self, up: int) -> None:
        """Part as soon as so many bytes more have gone to the server, to a `PIECE`."""
        self._last = self.up + up

    def mend(self) -> None:
        """Let connections be made again."""
        self.whole = True

    def _run(self, what: Coroutine[Any, Any, Any]) -> Any:
        running: Future[Any] = asyncio.run_coroutine_threadsafe(what, self._loop)
        return running.result()

    # --- in the loop's thread

    async def _listen(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._listener = await asyncio.start_server(self._carry, sock=listening, limit=PIECE)
        self.port = listening.getsockname()[1]

    async def _cut(self) -> int:
        ended = [writer for writer in self._open if not writer.is_closing()]
        for writer in ended:
            writer.transport.abort()
        return len(ended) // 2

    async def _close(self) -> None:
        self._listener.close()
        await self._cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio's own promise
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self.whole:
            writer.transport.abort()
            return
        self.connections += 1
        with contextlib.suppress(OSError), contextlib.closing(writer.transport):
            far = await self._dial()
            for each in (writer, far[1]):
                each.transport.set_write_buffer_limits(0)
            self._open |= {writer, far[1]}
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._one_way("up", reader, far[1]))
                    both.create_task(self._one_way("down", far[0], writer))
            except* OSError:
                pass
            finally:
                self._open -= {writer, far[1]}
                for each in (writer, far[1]):
                    each.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        dialling = socket.socket()
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            dialling.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        dialling.setblocking(False)
        try:
            await self._loop.sock_connect(dialling, ("127.0.0.1", self._server))
        except OSError:
            dialling.close()
            raise
        return await asyncio.open_connection(sock=dialling, limit=PIECE)

    async def _one_way(self, way: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on what comes, at the link's rate and late; at most what fits on the link is on its way."""
        rate, delay = self._quality.rate, self._quality.delay
        fits = 1 if math.isinf(rate) else max(1, int(rate * delay / PIECE))
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(fits if delay else 1)

        async def arrives() -> None:
            while True:
                due, piece = await waiting.get()
                await asyncio.sleep(due - self._loop.time())
                if not piece:
                    raise ConnectionResetError
                sink.write(piece)
                await sink.drain()
                if sink.transport.is_closing():
                    raise ConnectionResetError
                setattr(self, way, getattr(self, way) + len(piece))
                if self.up >= self._last:
                    self._last, self.whole = math.inf, False
                    await self._cut()

        async with asyncio.TaskGroup() as both:
            both.create_task(arrives())
            while True:
                piece = await source.read(PIECE)
                now = self._loop.time()
                self._free[way] = max(self._free[way], now) + len(piece) / rate
                await asyncio.sleep(self._free[way] - now)
                await waiting.put((self._loop.time() + delay, piece))
                if not piece:
                    return
