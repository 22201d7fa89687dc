"""The service's end of a link: each call that begins is carried to the service, in a task of its own.

This file must not know who dialled, nor what frames mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from websockets.asyncio.connection import Connection as Socket

from hansa.errors import HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer
from hansa.transport.frames import checked, closing
from hansa.transport.live import SETTLE, Live
from hansa.transport.port import FRAME_LIMIT, HEAD_LIMIT, Service
from hansa.transport.websocket.framing import STREAMS, Method
from hansa.transport.websocket.link import Link
from hansa.transport.websocket.stream import Stream

_WAITING = 4 * STREAMS
"""Calls that are over at most, but for somebody who does not read their end, or does not stop."""


class Served:
    """A connection whose calls go to a service.

    Args:
        socket: the WebSocket.
        service: whom frames are carried to.
        live: what is under way at this server.
        admit: says at each call who the caller is, or raises.
    """

    def __init__(self, socket: Socket, service: Service, live: Live, admit: Callable[[], Peer]) -> None:
        self.link = Link(socket, self._accept)
        self._service, self._live, self._admit = service, live, admit
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> HansaError:
        """Serve until the connection is over; why it is."""
        try:
            return await self.link.run()
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=SETTLE)

    def _accept(self, stream: Stream, method: Method) -> None:
        if len(self._tasks) >= _WAITING:
            raise ProtocolError("the caller begins calls, and reads nothing")
        task = asyncio.create_task(self._serve(stream, method))
        stream.left = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream, method: Method) -> None:
        async def work(peer: Peer) -> None:
            match method:
                case Method.SESSION:
                    await _pour(self._service.session(peer, stream), stream)
                case Method.CALL:
                    await _put(stream, await self._service.call(peer, await _first(stream)))
                case Method.WATCH:
                    await _pour(self._service.watch(peer, await _first(stream)), stream)
                case Method.UPLOAD:
                    head = await _first(stream, HEAD_LIMIT)
                    await _put(stream, await self._service.upload(peer, head, stream))
                case Method.DOWNLOAD:
                    await _pour(self._service.download(peer, await _first(stream, HEAD_LIMIT)), stream)

        try:
            await self._live.run(self._admit, work, enduring=method in (Method.SESSION, Method.WATCH))
        except HansaError as error:
            await stream.fail(error)
        else:
            await stream.end()


async def _first(stream: Stream, limit: int = FRAME_LIMIT) -> bytes:
    async for frame in stream:
        return checked(frame, limit)
    raise ProtocolError("a call came without its question")


async def _pour(frames: AsyncIterator[bytes], stream: Stream) -> None:
    async with closing(frames):
        async for frame in frames:
            await _put(stream, frame)


async def _put(stream: Stream, frame: bytes) -> None:
    if not await stream.send(checked(frame)):
        raise NotConnected("the caller went away")
