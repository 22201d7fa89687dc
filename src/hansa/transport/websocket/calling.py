"""The caller's end: the five calls of the port over a link. It must not know what frames mean, nor who dialled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from hansa.errors import HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer
from hansa.transport.frames import checked, closing
from hansa.transport.port import FRAME_LIMIT, HEAD_LIMIT
from hansa.transport.websocket.framing import Method
from hansa.transport.websocket.link import Link
from hansa.transport.websocket.stream import Stream

DEADLINE = 60.0
"""Seconds that a `call` may take. Streams have no such limit; pings find out when their other side is gone."""


class Reach(Protocol):
    """Where a caller's links come from."""

    async def link(self) -> Link:
        """An open one. Raises a HansaError that says why there is none."""
        ...

    async def close(self, why: HansaError) -> None:
        """Close what is open: what is under way raises this error."""
        ...


@dataclass(frozen=True)
class Given:
    """One link, and no other after it."""

    only: Link

    async def link(self) -> Link:
        """The link, open or not."""
        return self.only

    async def close(self, why: HansaError) -> None:
        """Close it."""
        await self.only.close(why)


class WebSocketCaller:
    """A `Connection` over links that come from elsewhere.

    Args:
        reach: where they come from.
        address: of the other side, for messages.
        deadline: seconds that a `call` may take.
        peer: who is at the other end, where that is known.

    Attributes:
        peer: as given.
    """

    def __init__(self, reach: Reach, address: str, deadline: float = DEADLINE, peer: Peer | None = None) -> None:
        self.peer = peer
        self._reach, self._address, self._deadline = reach, address, deadline
        self._closed = False

    def session(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Send `frames` while receiving others."""
        return self._exchange(Method.SESSION, None, frames)

    async def call(self, frame: bytes) -> bytes:
        """Ask, and wait for the answer."""
        try:
            async with asyncio.timeout(self._deadline) as limit:
                return await self._answer(Method.CALL, checked(frame))
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotConnected(
                f"no answer within {self._deadline:g} s",
                where=self._address,
                hint="try again; the server may be busy",
            ) from None

    def watch(self, frame: bytes) -> AsyncIterator[bytes]:
        """Ask, and receive answers as they come."""
        return self._exchange(Method.WATCH, frame)

    async def upload(self, head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        """Send a large content."""
        return await self._answer(Method.UPLOAD, head, chunks)

    def download(self, head: bytes) -> AsyncIterator[bytes]:
        """Receive a large content."""
        return self._exchange(Method.DOWNLOAD, head)

    async def close(self) -> None:
        """End everything under way."""
        if not self._closed:
            self._closed = True
            await self._reach.close(self._gone())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _gone(self) -> NotConnected:
        return NotConnected("this connection was closed", where=self._address, hint="make another one")

    async def _answer(self, method: Method, first: bytes, chunks: AsyncIterator[bytes] | None = None) -> bytes:
        async with aclosing(self._exchange(method, first, chunks)) as answers:
            answer = await anext(answers, None)
            if answer is None or await anext(answers, None) is not None:
                raise ProtocolError(
                    "a call was not answered once", where=self._address, hint="compare the versions of both sides"
                )
            return answer

    async def _exchange(
        self, method: Method, first: bytes | None, frames: AsyncIterator[bytes] | None = None
    ) -> AsyncGenerator[bytes, None]:
        async with closing(frames):
            if first is not None:
                checked(first, HEAD_LIMIT if method in (Method.UPLOAD, Method.DOWNLOAD) else FRAME_LIMIT)
            if self._closed:
                raise self._gone()
            stream = await (await self._reach.link()).open(method)
            sending = asyncio.create_task(_send(stream, first, frames))
            try:
                async for frame in stream:
                    yield frame
            finally:
                stream.leave()
                sending.cancel()
                await asyncio.wait([sending])


async def _send(stream: Stream, first: bytes | None, frames: AsyncIterator[bytes] | None) -> None:
    """Send it all. An error of the iterator's breaks the call off, and is raised to whoever reads its answers."""
    try:
        async with closing(frames):
            if first is not None and not await stream.send(first):
                return
            if frames is None:
                return
            async for frame in frames:
                if not await stream.send(checked(frame)):
                    return
        await stream.end()
    except asyncio.CancelledError:
        stream.leave(NotConnected("the caller broke off"))
        raise
    except Exception as error:  # noqa: BLE001 - it is for the caller
        stream.leave(error)
