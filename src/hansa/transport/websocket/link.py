"""One WebSocket connection, and the calls under way on it. Either side may have dialled, and either side may be who calls.

The messages are `framing`'s. This file must not know what frames mean, who the other side is, nor how it was reached.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from websockets.asyncio.connection import Connection as Socket
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed

from hansa.errors import HansaError, NotConnected, ProtocolError
from hansa.transport.faults import decoded
from hansa.transport.live import SETTLE
from hansa.transport.websocket.framing import (
    LAST_STREAM,
    STREAMS,
    Cancel,
    Credit,
    Data,
    End,
    Failed,
    Message,
    Method,
    Open,
    decode,
    encode,
)
from hansa.transport.websocket.pulse import beat
from hansa.transport.websocket.reasons import again, ended
from hansa.transport.websocket.stream import Stream

_LOG = logging.getLogger("hansa.transport")

_MISTAKE, _DONE = 1002, 1000
"""WebSocket's status codes (RFC 6455, 7.4.1)."""


Accept = Callable[[Stream, Method], None]
"""(stream, method): a call begins at the service; it must not wait."""


class Link:
    """A connection that is open. Somebody must `run` it.

    Args:
        socket: the WebSocket.
        accept: is given each call that begins, at the side that serves; None at the side that calls.
    """

    def __init__(self, socket: Socket, accept: Accept | None = None) -> None:
        self._socket, self._accept = socket, accept
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._why: HansaError | None = None
        self._slots = asyncio.Semaphore(STREAMS)
        self._gone = asyncio.Event()

    @property
    def serves(self) -> bool:
        """Whether this is the service's end."""
        return self._accept is not None

    @property
    def alive(self) -> bool:
        """Whether calls may begin."""
        return self._why is None and self._last < LAST_STREAM

    @property
    def used(self) -> bool:
        """Whether a call ever began."""
        return self._last > 0

    async def open(self, method: Method) -> Stream:
        """Begin a call.

        Raises:
            HansaError: the connection is over; it says why.
        """
        await self._slots.acquire()
        if not self.alive:
            self._slots.release()
            raise again(
                self._why or NotConnected("this connection has carried all the calls that it can", hint="try again")
            )
        self._last += 1
        stream = self._streams[self._last] = Stream(self, self._last)
        self.push(Open(self._last, method))
        return stream

    async def run(self) -> HansaError:
        """Carry messages until the connection is over.

        Returns:
            Why it is.
        """
        beating, closing = asyncio.create_task(beat(self._socket)), None
        try:
            while True:
                message = await self._socket.recv()
                if self._why is None:
                    try:
                        self._take(decode(message))
                    except ProtocolError as mistake:
                        _LOG.warning("a connection was ended for a mistake of its other side: %s", mistake.what)
                        self._finish(mistake)
                        closing = asyncio.create_task(self._closed(_MISTAKE, mistake.what))
        except ConnectionClosed as closed:
            self._finish(ended(closed))
        finally:
            self._finish(NotConnected("the connection broke", hint="try again"))
            beating.cancel()
            await asyncio.wait([beating, *([closing] if closing else [])])
            self._gone.set()
        return self._why or NotConnected("the connection broke")

    async def close(self, why: HansaError) -> None:
        """End the connection, and what is under way with this error; wait until `run` is over."""
        self._finish(why)
        await self._closed(_DONE, why.what)
        await self._gone.wait()

    async def send(self, message: Message) -> bool:
        """Write a message, and wait while too much is unsent; whether the connection is still open."""
        try:
            await self._socket.send(encode(message))
        except ConnectionClosed:
            return False
        return True

    def push(self, message: Message) -> None:
        """Write a small message without waiting; nothing happens where the connection is over."""
        broadcast([self._socket], encode(message))

    def forget(self, number: int) -> None:
        """A call is over."""
        if self._streams.pop(number, None) is not None and not self.serves:
            self._slots.release()

    def _take(self, message: Message) -> None:
        """Raises ProtocolError, where it makes no sense."""
        if isinstance(message, Open):
            self._begin(message)
            return
        stream = self._streams.get(message.stream)
        if stream is None:
            if message.stream > self._last:
                raise ProtocolError(f"a message came for stream {message.stream}, which nobody opened")
            return  # it crossed the end of its call
        match message:
            case Data():
                stream.arrived(message)
            case Credit(_, count):
                stream.granted(count)
            case End():
                stream.heard_end()
            case Failed(_, fault) if not self.serves:
                stream.over(decoded(fault))
            case Cancel() if self.serves:
                stream.over(NotConnected("the caller broke off"))
            case _:
                raise ProtocolError(f"a {type(message).__name__.upper()} came from the wrong side")

    def _begin(self, message: Open) -> None:
        if self._accept is None:
            raise ProtocolError("a call came, from the side that serves")
        if message.stream <= self._last:
            raise ProtocolError(f"a call came as stream {message.stream} after stream {self._last}")
        if len(self._streams) >= STREAMS:
            raise ProtocolError(f"more than {STREAMS} calls came at once")
        self._last = message.stream
        if self._why is None:
            stream = self._streams[self._last] = Stream(self, self._last, hears_one=not message.method.streams)
            self._accept(stream, message.method)

    def _finish(self, why: HansaError) -> None:
        if self._why is None:
            self._why = why
            for stream in list(self._streams.values()):
                stream.over(NotConnected("the caller went away") if self.serves else again(why))

    async def _closed(self, code: int, reason: str) -> None:
        """Close as WebSocket does; without waiting for long, as the other side may read nothing."""
        try:
            async with asyncio.timeout(SETTLE):
                await self._socket.close(code, reason.encode()[:120].decode(errors="ignore"))
        except TimeoutError:
            self._socket.transport.abort()
