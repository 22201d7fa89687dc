"""The transport within one process: no sockets, no copies. For tests, which may cut its connections and refuse new ones.

It keeps every promise of the port, as the adapter for networks does; errors cross as bytes here too. This file must not know
what frames mean.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import aclosing
from types import TracebackType
from typing import Self

from hansa.errors import ConfigError, FederationError, HansaError, NotConnected
from hansa.protocol.peer import Peer
from hansa.transport.faults import decoded, encoded
from hansa.transport.frames import checked, closing
from hansa.transport.live import Live
from hansa.transport.port import HEAD_LIMIT, Service

ROOM = 2
"""Frames in flight in one direction of one call, at most."""


class _Pipe:
    """One direction of a call: one writer, one reader, and little room in between."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._ended = False
        self._error: HansaError | None = None
        self._changed = asyncio.Event()  # the two never wait at once: one waits for room, the other for a frame

    async def put(self, frame: bytes) -> bool:
        """Wait for room, and write; whether there is still a reader."""
        while len(self._frames) >= ROOM and not self._ended:
            await self._change()
        if not self._ended:
            self._frames.append(frame)
            self._changed.set()
        return not self._ended

    def end(self, error: HansaError | None = None) -> None:
        """No frame follows. Only the first end counts; an error comes after the frames that are in the pipe already."""
        if not self._ended:
            self._ended, self._error = True, error
            self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._frames and not self._ended:
            await self._change()
        if self._frames:
            self._changed.set()
            return self._frames.popleft()
        if self._error is not None:
            raise decoded(encoded(self._error))
        raise StopAsyncIteration

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


_Work = Callable[[Peer, AsyncIterator[bytes], _Pipe], Coroutine[object, object, None]]
"""(peer, what it sends, what it receives): one call, at the server."""


class MemoryListener:
    """A server that is dialled by calling `connect`. It is used from one event loop.

    Args:
        service: whom it carries frames to.
        admit: decides at every call who the caller is, or raises; by default everybody is who they say.

    Attributes:
        refusing: set it, and every new call raises `NotConnected`, as if nobody listened.
    """

    def __init__(self, service: Service, *, admit: Callable[[Peer], Peer] = lambda peer: peer) -> None:
        self.refusing = False
        self._service, self._admit = service, admit
        self._live: Live | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Begin to listen; a stopped one may be started again."""
        if self._live is not None:
            raise ConfigError("this server has been started already", hint="make another one")
        self._live = Live()
        return "memory"

    async def stop(self, grace: float = 0.0) -> None:
        """End sessions and watches at once, give everything else `grace` seconds, and listen no more."""
        live, self._live = self._live, None
        if live is not None:
            await live.stop(grace)

    def expel(self, serials: Collection[str]) -> int:
        """End everything under way of peers with these certificates."""
        return 0 if self._live is None else self._live.expel(serials)

    def cut(self, name: str = "") -> int:
        """Break what is under way, as a cable that is pulled does; how much that was.

        Args:
            name: of the peer; everybody by default.
        """
        broken = NotConnected("the connection broke", hint="try again")
        return 0 if self._live is None else self._live.end(broken, lambda peer: not name or peer.name == name)

    def connect(self, peer: Peer) -> MemoryConnection:
        """A connection for that peer, which is dialled at each call."""
        return MemoryConnection(self, peer)

    def _serve(
        self, peer: Peer, work: Callable[[Peer], Awaitable[None]], up: _Pipe, down: _Pipe, *, enduring: bool
    ) -> asyncio.Task[None]:
        """Begin one call at the server.

        Raises:
            NotConnected: nobody listens.
        """
        live = self._live
        if live is None or self.refusing:
            raise NotConnected("nothing listens at memory", hint="start the server")

        async def serve() -> None:
            try:
                await live.run(lambda: self._admit(peer), work, enduring=enduring)
                down.end()
            except HansaError as error:
                down.end(error)
            finally:
                broken = NotConnected("the connection broke", hint="try again")
                down.end(broken)
                up.end(broken)

        task = asyncio.create_task(serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class MemoryConnection:
    """A client's end of a `MemoryListener`."""

    def __init__(self, listener: MemoryListener, peer: Peer) -> None:
        self._listener, self._peer, self._closed = listener, peer, False
        self._under_way: dict[_Pipe, asyncio.Task[None]] = {}

    def session(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Send `frames` while receiving others."""

        async def work(peer: Peer, up: AsyncIterator[bytes], down: _Pipe) -> None:
            await _pour(self._listener._service.session(peer, up), down)

        return self._exchange(work, frames, enduring=True)

    async def call(self, frame: bytes) -> bytes:
        """Ask, and wait for the answer."""
        checked(frame)

        async def work(peer: Peer, _: AsyncIterator[bytes], down: _Pipe) -> None:
            await down.put(checked(await self._listener._service.call(peer, frame)))

        return await self._answer(work, None)

    def watch(self, frame: bytes) -> AsyncIterator[bytes]:
        """Ask, and receive answers as they come."""

        async def work(peer: Peer, _: AsyncIterator[bytes], down: _Pipe) -> None:
            await _pour(self._listener._service.watch(peer, checked(frame)), down)

        return self._exchange(work, None, enduring=True)

    async def upload(self, head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        """Send a large content."""

        async def work(peer: Peer, up: AsyncIterator[bytes], down: _Pipe) -> None:
            await down.put(checked(await self._listener._service.upload(peer, checked(head, HEAD_LIMIT), up)))

        return await self._answer(work, chunks)

    def download(self, head: bytes) -> AsyncIterator[bytes]:
        """Receive a large content."""

        async def work(peer: Peer, _: AsyncIterator[bytes], down: _Pipe) -> None:
            await _pour(self._listener._service.download(peer, checked(head, HEAD_LIMIT)), down)

        return self._exchange(work, None)

    async def close(self) -> None:
        """End everything under way."""
        self._closed = True
        for down, serving in self._under_way.items():
            down.end(NotConnected("this connection was closed"))
            serving.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _answer(self, work: _Work, chunks: AsyncIterator[bytes] | None) -> bytes:
        async with aclosing(self._exchange(work, chunks)) as answers:
            async for answer in answers:
                return answer
        raise FederationError("the call ended without an answer")

    async def _exchange(
        self, work: _Work, frames: AsyncIterator[bytes] | None, *, enduring: bool = False
    ) -> AsyncGenerator[bytes, None]:
        up, down = _Pipe(), _Pipe()
        try:
            if self._closed:
                raise NotConnected("this connection was closed", hint="make another one")
            serving = self._listener._serve(self._peer, lambda peer: work(peer, up, down), up, down, enduring=enduring)
        except NotConnected:
            async with closing(frames):
                raise
        self._under_way[down] = serving
        sending = None if frames is None else asyncio.create_task(_send(frames, up))
        if sending is not None:
            sending.add_done_callback(lambda done: _broken_off(done, up, down, serving))
        try:
            async for frame in down:
                yield frame
        except NotConnected:
            if sending is not None and sending.done() and not sending.cancelled() and (own := sending.exception()):
                raise own from None
            raise
        finally:
            del self._under_way[down]
            down.end()
            serving.cancel()
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])


async def _send(frames: AsyncIterator[bytes], up: _Pipe) -> None:
    async with closing(frames):
        async for frame in frames:
            if not await up.put(checked(frame)):
                return
    up.end()


def _broken_off(sending: asyncio.Task[None], up: _Pipe, down: _Pipe, serving: asyncio.Task[None]) -> None:
    """What a client sends failed: so does the call."""
    if sending.cancelled() or sending.exception() is not None:
        broken = NotConnected("the caller broke off")
        down.end(broken)
        up.end(broken)
        serving.cancel()


async def _pour(frames: AsyncIterator[bytes], down: _Pipe) -> None:
    async with closing(frames):
        async for frame in frames:
            if not await down.put(checked(frame)):
                return
