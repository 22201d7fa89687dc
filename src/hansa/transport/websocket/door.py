"""A port at which WebSockets are taken. This file must not know whether who listens there serves or calls."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from hansa.errors import ConfigError
from hansa.protocol.peer import Peer
from hansa.transport.address import Address, unusable
from hansa.transport.live import SETTLE
from hansa.transport.websocket import wire
from hansa.transport.websocket.pulse import Accepted


class Door:
    """Takes WebSockets at one address; it is opened and shut once.

    Args:
        place: the address; port 0 lets the system choose.
        takes: the subprotocol that others must ask for.
        greet: is given each WebSocket that is open; it is closed when that returns.
        context: for TLS.
        own: who listens, which is told to whoever dials without TLS.
        refuse: looks at who dials, before the WebSocket is open, and may give an answer that says no.
    """

    def __init__(
        self,
        place: Address,
        takes: Subprotocol,
        greet: Callable[[ServerConnection], Awaitable[None]],
        *,
        context: ssl.SSLContext | None = None,
        own: Peer | None = None,
        refuse: Callable[[ServerConnection], Response | None] = lambda _: None,
    ) -> None:
        self._place, self._takes, self._greet = place, takes, greet
        self._context, self._own, self._refuse = context, own, refuse
        self._server: Server | None = None

    async def open(self) -> str:
        """Begin to listen; the address that others dial, with its true port.

        Raises:
            ConfigError: the address cannot be used, or the door was opened before.
        """
        if self._server is not None:
            raise ConfigError("this server has been started already", hint="make another one")
        server = serve(
            self._greet,
            self._place.host,
            self._place.port,
            subprotocols=[self._takes],
            process_request=self._asked,
            process_response=self._answered,
            create_connection=Accepted,
            ssl=self._context,
            **wire.options(),
        )
        try:
            self._server = await server
        except OSError:
            raise unusable(self._place) from None
        port = self._server.sockets[0].getsockname()[1]
        return wire.written(Address(self._place.host, port), secure=self._context is not None)

    def shut(self) -> None:
        """Take nobody new; those who are in stay."""
        if self._server is not None:
            self._server.close(close_connections=False)

    async def left(self) -> None:
        """Wait until everybody has left, but not for long for who is still at the door; call `shut` first."""
        if self._server is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE):
                    await self._server.wait_closed()

    def _asked(self, socket: ServerConnection, request: Request) -> Response | None:
        return wire.refusal(request, self._takes) or self._refuse(socket)

    def _answered(self, _: ServerConnection, __: Request, response: Response) -> None:
        if self._own is not None:
            response.headers[wire.PEER] = f"{self._own.role}/{self._own.name}"
