"""One call under way on a WebSocket, seen from one of its ends: order, ends, and how much may travel.

This file must not know what frames mean, which calls there are beside it, nor how messages are written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from hansa.errors import HansaError, ProtocolError
from hansa.transport.faults import encoded
from hansa.transport.port import FRAME_LIMIT
from hansa.transport.websocket.framing import WINDOW, Cancel, Credit, Data, End, Failed, Message, pieces


class Carrier(Protocol):
    """What a stream needs of the connection that it is on."""

    @property
    def serves(self) -> bool:
        """Whether this is the service's end."""
        ...

    async def send(self, message: Message) -> bool:
        """Write a message, and wait while too much is unsent; whether the connection is still open."""
        ...

    def push(self, message: Message) -> None:
        """Write a small message without waiting."""
        ...

    def forget(self, number: int) -> None:
        """That stream is over."""
        ...


class Stream:
    """One call under way, seen from one of its ends: frames are sent with `send`, and received by iterating.

    Attributes:
        left: called once, when the other side went away, or the connection.
    """

    def __init__(self, link: Carrier, number: int, *, hears_one: bool = False) -> None:
        self.left: Callable[[], object] = lambda: None
        self._link, self._number, self._hears_one = link, number, hears_one
        self._credit, self._allowed, self._read = WINDOW, WINDOW, 0
        self._parts: list[bytes | memoryview] = []
        self._size, self._cost = 0, 0
        self._frames: deque[tuple[bytes, int]] = deque()
        self._error: BaseException | None = None
        self._heard_all, self._over = False, False
        self._changed, self._room = asyncio.Event(), asyncio.Event()

    async def send(self, frame: bytes) -> bool:
        """Wait until the other side takes more, and send; whether the call is still under way."""
        for piece in pieces(self._number, frame):
            while self._credit <= 0 and not self._over:
                self._room.clear()
                await self._room.wait()
            if self._over:
                return False
            self._credit -= piece.cost
            if not await self._link.send(piece):
                return False
        return True

    async def end(self) -> None:
        """Nothing follows from here; at the service, the call is over."""
        if not self._over:
            if self._link.serves:
                self._forget()
            await self._link.send(End(self._number))

    async def fail(self, error: HansaError) -> None:
        """At the service: the call is over, with an error."""
        if not self._over:
            self._forget()
            await self._link.send(Failed(self._number, encoded(error)))

    def leave(self, error: BaseException | None = None) -> None:
        """At the caller: the call is over, if it is not already; who still reads gets this error, after what came."""
        if not self._over:
            self._forget()
            self._link.push(Cancel(self._number))
            self._finished(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next frame.

        Raises:
            HansaError: the other side's, or why the connection is over.
        """
        while not self._frames and not self._heard_all:
            self._changed.clear()
            await self._changed.wait()
        if self._frames:
            frame, cost = self._frames.popleft()
            self._give_back(cost)
            return frame
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    # --- what comes from the other side, and from the link

    def arrived(self, data: Data) -> None:
        """A piece of a frame came."""
        if self._heard_all:
            raise ProtocolError(f"a frame came for stream {self._number} after its end")
        if self._allowed <= 0:
            raise ProtocolError(f"a frame came for stream {self._number} without credit")
        self._allowed -= data.cost
        self._parts.append(data.content)
        self._size += len(data.content)
        self._cost += data.cost
        if self._size > FRAME_LIMIT:
            raise ProtocolError(f"a frame came for stream {self._number} that is too large")
        if data.last:
            frame = bytes(data.content) if len(self._parts) == 1 else b"".join(self._parts)
            self._frames.append((frame, self._cost))
            self._parts, self._size, self._cost = [], 0, 0
            self._heard_all = self._hears_one
            self._changed.set()

    def granted(self, count: int) -> None:
        """The other side takes so many more bytes."""
        self._credit += count
        self._room.set()

    def heard_end(self) -> None:
        """The other side sends nothing more; if it is the service, the call is over."""
        if self._heard_all or self._parts:
            raise ProtocolError(
                f"an end came for stream {self._number} {'in a frame' if self._parts else 'after its end'}"
            )
        if self._link.serves:
            self._finished(None)
        else:
            self.over(None)

    def over(self, error: BaseException | None) -> None:
        """The call is over, by the other side or the connection; `error` says why, after what came already."""
        self._forget()
        self._finished(error)
        self.left()

    def _finished(self, error: BaseException | None) -> None:
        if not self._heard_all:
            self._heard_all, self._error = True, error
        self._changed.set()

    def _forget(self) -> None:
        self._over = True
        self._room.set()
        self._link.forget(self._number)

    def _give_back(self, cost: int) -> None:
        self._read += cost
        if self._read >= WINDOW // 4 and not self._over and not self._heard_all:
            self._link.push(Credit(self._number, self._read))
            self._allowed += self._read
            self._read = 0
