"""Both ends of the socket between a parent and its child: `Channel`, the child's, blocks; `ParentChannel` is for asyncio.

The parent's end reads only when it is asked to: what a child sends unasked fills the socket's buffers, and then the child
waits. It stands on the bare socket, not on asyncio's streams, because those forget what has arrived once a write has failed:
the last words of a child that is gone. This file must not know what the messages say.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from hansa.errors import NotConnected, ProtocolError
from hansa.runtime.children.hansa_child import wire
from hansa.runtime.children.hansa_child.wire import Channel

__all__ = ["Channel", "ParentChannel"]

_AHEAD = 2**16
"""Bytes read ahead of what was asked for, at most."""
_AT_ONCE = 2**18
"""Bytes that one call moves, at most: other tasks want their turn."""


class ParentChannel:
    """The parent's end, in a running event loop. Any task may receive or send; each message goes to one.

    Args:
        end: a connected Unix stream socket, which the channel owns from now on.

    Attributes:
        torn: whether the child's end closed in the middle of a message.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end, self._loop = end, asyncio.get_running_loop()
        self._sending, self._receiving = asyncio.Lock(), asyncio.Lock()
        self._came, self._unsent = bytearray(), bytearray()
        self._waiting: set[asyncio.Future[None]] = set()
        self._broken = ""
        self.torn = False

    async def send(self, message: dict[str, Any]) -> None:
        """Hand a message over; waits while the child is not reading. What a cancelled call left goes ahead of the next message.

        Raises:
            ProtocolError: it cannot be a message: no JSON object, NaN or infinity in it, too large. Nothing was sent.
            NotConnected: the child has closed its end.
        """
        try:
            frame = wire.encode(message)
        except (TypeError, ValueError) as error:
            raise ProtocolError(
                f"this cannot be sent to a child process: {error}",
                hint="send small JSON objects, and models as files by their path",
            ) from error
        async with self._sending:
            self._unsent += frame
            try:
                while self._unsent:
                    try:
                        sent = self._end.send(self._unsent[:_AT_ONCE])
                    except BlockingIOError:
                        await self._until(self._loop.add_writer, self._loop.remove_writer)
                    else:
                        del self._unsent[:sent]
            except OSError as error:
                self._unsent.clear()
                raise NotConnected("the child process has closed its channel") from error

    async def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the child has closed its end. May be cancelled without loss.

        Raises:
            ProtocolError: what came is no message, or ended in the middle of one; nothing after it can be understood.
        """
        async with self._receiving:
            await asyncio.sleep(0)  # messages that have come already need no waiting: a flood must not keep the loop
            if not self._broken:
                try:
                    return await self._next()
                except ValueError as error:
                    self._broken = str(error)
            raise ProtocolError(f"a child process sent what is no message: {self._broken}")

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """Every message, until the child closes its end.

        Raises:
            ProtocolError: see `receive`.
        """
        while (message := await self.receive()) is not None:
            yield message

    def hang_up(self) -> None:
        """Let `receive` find the end after what has come so far, whoever else still holds the other end."""
        try:
            self._end.shutdown(socket.SHUT_RD)
        except OSError:
            return  # the other end was quicker

    def close(self) -> None:
        """Let the child see the end. Whoever still receives finds it too."""
        if self._end.fileno() != -1:
            self._loop.remove_reader(self._end)
            self._loop.remove_writer(self._end)
            self._end.close()
        for waiting in self._waiting:
            _wake(waiting)

    async def _next(self) -> dict[str, Any] | None:
        if not await self._have(wire.HEADER):
            return None
        whole = wire.HEADER + wire.length(bytes(self._came[: wire.HEADER]))
        if not await self._have(whole):
            return None
        body = bytes(self._came[wire.HEADER : whole])
        del self._came[:whole]
        return wire.decode(body)

    async def _have(self, count: int) -> bool:
        """Whether so many bytes have come; they stay in the buffer, so that a cancelled call loses none.

        Raises:
            ValueError: the end came after some of a message.
        """
        while len(self._came) < count:
            try:
                part = self._end.recv(min(max(count - len(self._came), _AHEAD), _AT_ONCE))
            except BlockingIOError:
                await self._until(self._loop.add_reader, self._loop.remove_reader)
                continue
            except OSError:
                part = b""  # reset, or closed on this side
            if not part:
                if self._came:
                    self.torn = True
                    raise ValueError("it ended in the middle of a message")
                return False
            self._came += part
        return True

    async def _until(self, watch: Callable[..., None], unwatch: Callable[[socket.socket], object]) -> None:
        """Wait for the socket to be ready for reading or writing."""
        ready = self._loop.create_future()
        self._waiting.add(ready)
        watch(self._end, _wake, ready)
        try:
            await ready
        finally:
            self._waiting.discard(ready)
            if self._end.fileno() != -1:
                unwatch(self._end)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
