"""The service that listens: one port, mutual TLS, and every call admitted anew. It must not know what frames mean."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from websockets.asyncio.server import ServerConnection

from hansa.errors import ConfigError, NotConnected
from hansa.transport import tls
from hansa.transport.credentials import Credentials
from hansa.transport.live import Live
from hansa.transport.port import Service
from hansa.transport.websocket import wire
from hansa.transport.websocket.door import Door
from hansa.transport.websocket.link import Link
from hansa.transport.websocket.serving import Served


class WebSocketListener:
    """Listens at one address, and carries frames to a service. It is started and stopped once, in one event loop.

    Args:
        service: whom it carries frames to.
        address: `wss://host:port`, or `host:port` alone; port 0 lets the system choose.
        credentials: of the server; a client's certificate must come from their authority.
        admit: is given the caller's certificate, PEM, at every call, and says who that is, or raises. It runs in the event
            loop, so it must not wait.
        insecure: without TLS, on a loopback address only; callers then are who they say they are.

    Raises:
        ConfigError: the address is none, or its scheme says otherwise; or it is not a loopback one and `insecure`; or
            credentials are missing.
        CertificateError: the credentials cannot be read, or do not belong together.
    """

    def __init__(
        self,
        service: Service,
        address: str,
        *,
        credentials: Credentials | None = None,
        admit: wire.Admit | None = None,
        insecure: bool = False,
    ) -> None:
        place = wire.place(address, secure=not insecure)
        if not insecure and (credentials is None or admit is None):
            raise ConfigError("a server needs credentials, and somebody who admits its callers")
        self._service, self._live = service, Live()
        self._admit = None if insecure else admit
        context = None if insecure or credentials is None else tls.server(credentials)
        self._door = Door(place, wire.CALLS, self._greet, context=context)
        self._links: set[Link] = set()

    async def start(self) -> str:
        """Begin to listen; the address, with its scheme and true port."""
        return await self._door.open()

    async def stop(self, grace: float = 0.0) -> None:
        """End sessions and watches at once, give everything else `grace` seconds, and listen no more."""
        self._door.shut()
        await self._live.stop(grace)
        why = NotConnected("the server is stopping", hint="try again in a while")
        await asyncio.gather(*(link.close(why) for link in self._links))
        await self._door.left()

    def expel(self, serials: Collection[str]) -> int:
        """End everything under way of peers with these certificates."""
        return self._live.expel(serials)

    async def _greet(self, socket: ServerConnection) -> None:
        served = Served(socket, self._service, self._live, lambda: wire.caller(socket, self._admit))
        self._links.add(served.link)
        try:
            await served.run()
        finally:
            self._links.discard(served.link)
