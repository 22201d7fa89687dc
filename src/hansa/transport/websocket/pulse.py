"""Finding out that the other side of a WebSocket is gone. This file must not know what travels on it.

websockets' own keep-alive waits for a pong only, which on a slow link stands behind megabytes of data in both directions;
and it waits for room to write a ping, which a side that reads nothing never gives. Here whatever moves is a sign of life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

PING, PONG = 20.0, 10.0
"""Seconds of silence after which a ping goes out, and those in which something must move then; as over gRPC."""


_BUFFER = 2**18
"""Bytes that are taken from the system, or out of TLS, at once."""


class _Counting(Connection, asyncio.BufferedProtocol):
    """Counts what a WebSocket receives; and receives into one buffer, which spares TLS an allocation for each 16 KiB."""

    _received = 0
    _buffer: memoryview | None = None

    @property
    def received(self) -> int:
        """Bytes since the beginning."""
        return self._received

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - its size is ours to choose
        """As asyncio calls it."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(_BUFFER))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """As asyncio calls it."""
        self._received += nbytes
        self.data_received(self.get_buffer(nbytes)[:nbytes])  # type: ignore[arg-type]  # it is copied there, like bytes


class Dialled(_Counting, ClientConnection):
    """A WebSocket that was dialled here."""

    @property
    def agreed(self) -> str:
        """What both sides of TLS agreed to speak over it (ALPN); empty without TLS, or before they did."""
        transport = getattr(self, "transport", None)
        tls = None if transport is None else transport.get_extra_info("ssl_object")
        return "" if tls is None else tls.selected_alpn_protocol() or "nothing"


class Accepted(_Counting, ServerConnection):
    """A WebSocket that was dialled by the other side."""


def moved(socket: Connection) -> tuple[int, int]:
    """Bytes that were received, and those that wait to be sent: while either changes, the other side lives."""
    return getattr(socket, "received", 0), socket.transport.get_write_buffer_size()


async def beat(
    socket: Connection, ping: float = PING, pong: float = PONG, look: Callable[[Connection], object] = moved
) -> None:
    """Ping when it is silent, and break the connection off when it stays so; until it is over, or this is cancelled.

    Args:
        socket: the connection.
        ping: seconds of silence before a ping.
        pong: seconds in which something must move afterwards.
        look: what has moved so far.
    """
    try:
        before = None
        while True:
            if before == (before := look(socket)):
                try:
                    async with asyncio.timeout(pong):
                        await (await socket.ping())
                except TimeoutError:
                    if look(socket) == before:
                        socket.transport.abort()
                        return
            await asyncio.sleep(ping)
    except ConnectionClosed:
        return
