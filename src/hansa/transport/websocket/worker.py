"""The caller that listens: a worker which coordinators dial. It must not know what frames mean."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Response

from hansa.errors import ConfigError, HansaError, NotConnected
from hansa.protocol.peer import Peer
from hansa.transport import tls
from hansa.transport.credentials import Credentials
from hansa.transport.faults import internal
from hansa.transport.websocket import wire
from hansa.transport.websocket.calling import DEADLINE, Given, WebSocketCaller
from hansa.transport.websocket.door import Door
from hansa.transport.websocket.link import Link

_LOG = logging.getLogger("hansa.transport")

_LATER = 1013
"""WebSocket's status code "try again later"."""


@dataclass(slots=True)
class _Held:
    """A coordinator's connection, and whether somebody has taken it."""

    link: Link
    peer: Peer
    caller: WebSocketCaller
    given: bool = False


class WebSocketWorker:
    """Listens for a `WebSocketDialler`, and gives a connection for each that comes. It is entered once, in one event loop.

        async with WebSocketWorker("wss://0.0.0.0:8777", credentials=mine, admit=admit) as worker:
            async for connection in worker:
                async with connection:
                    ...

    One coordinator is served at a time. The same one (by the name in its certificate) may dial again: its new connection
    then replaces the old one, which raises `NotConnected`. Another one is refused, and told why, while there is a first.

    Args:
        address: `wss://host:port`, or `host:port` alone; port 0 lets the system choose.
        credentials: of the worker; a coordinator's certificate must come from their authority.
        admit: is given the coordinator's certificate, PEM, and says who that is, or raises: whom this worker obeys is its
            decision. It runs in the event loop, so it must not wait.
        insecure: who the worker says that it is, without TLS and on a loopback address only; a coordinator then is who it
            says it is.
        deadline: seconds that a `call` may take.

    Attributes:
        address: that others dial, once it is entered.

    Raises:
        ConfigError: the address is none, or its scheme says otherwise; or it is not a loopback one and `insecure`; or
            credentials are missing.
        CertificateError: the credentials cannot be read, or do not belong together.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials | None = None,
        admit: wire.Admit | None = None,
        insecure: Peer | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self.address = address
        place = wire.place(address, secure=insecure is None)
        if insecure is None and (credentials is None or admit is None):
            raise ConfigError("a worker needs credentials, and somebody who admits its coordinator")
        self._admit, self._deadline = None if insecure is not None else admit, deadline
        context = None if insecure is not None or credentials is None else tls.server(credentials)
        self._door = Door(place, wire.SERVES, self._greet, context=context, own=insecure, refuse=self._refuse)
        self._held: _Held | None = None
        self._news = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Begin to listen.

        Raises:
            ConfigError: the address cannot be used; the message says why.
        """
        self.address = await self._door.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._news.set()
        self._door.shut()
        if self._held is not None:
            await self._held.link.close(NotConnected("the worker is stopping", hint="try again in a while"))
        await self._door.left()

    def __aiter__(self) -> AsyncIterator[WebSocketCaller]:
        return self

    async def __anext__(self) -> WebSocketCaller:
        """Wait for a coordinator; its connection, which knows its `peer`. It ends when the worker is left."""
        while not self._closed:
            held = self._held
            if held is not None and not held.given and held.link.alive:
                held.given = True
                return held.caller
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration

    def _refuse(self, socket: ServerConnection) -> Response | None:
        try:
            peer = wire.caller(socket, self._admit)
        except HansaError as error:
            return wire.refused(HTTPStatus.FORBIDDEN, error)
        except Exception:  # noqa: BLE001 - whoever admits may raise anything, and none of it goes out
            _LOG.exception("a coordinator could not be admitted")
            return wire.refused(HTTPStatus.INTERNAL_SERVER_ERROR, internal())
        taken = self._taken(peer)
        return None if taken is None else wire.refused(HTTPStatus.CONFLICT, taken)

    def _taken(self, peer: Peer) -> NotConnected | None:
        held = self._held
        if held is None or held.peer.name == peer.name or not held.link.alive:
            return None
        return NotConnected(
            f"this worker serves another coordinator, {held.peer.name!r}",
            hint="stop that one, or wait until it is done",
        )

    async def _greet(self, socket: ServerConnection) -> None:
        if self._closed or self._refuse(socket) is not None:  # another one may have come in between
            await socket.close(_LATER, "try again")
            return
        link, peer, before = Link(socket), wire.caller(socket, self._admit), self._held
        self._held = held = _Held(link, peer, WebSocketCaller(Given(link), self.address, self._deadline, peer))
        self._news.set()
        replacing = asyncio.create_task(_replaced(before))
        try:
            await link.run()
        finally:
            if self._held is held:
                self._held = None
            await replacing


async def _replaced(before: _Held | None) -> None:
    if before is not None:
        await before.link.close(NotConnected("a newer connection of the same coordinator took its place"))
