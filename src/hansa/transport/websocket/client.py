"""The caller that dials. It must not know what frames mean, nor when to dial again: that is for whoever holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from websockets.asyncio.connection import Connection as Socket

from hansa.errors import ConfigError, HansaError, NotConnected
from hansa.protocol.peer import Peer
from hansa.transport import tls
from hansa.transport.credentials import Credentials
from hansa.transport.websocket import wire
from hansa.transport.websocket.calling import DEADLINE, WebSocketCaller
from hansa.transport.websocket.link import Link
from hansa.transport.websocket.reasons import again


class WebSocketConnection(WebSocketCaller):
    """Dials a `WebSocketListener` when it is first used, and again, at a later call, after the connection broke.

    All calls share one connection. It goes through the HTTP proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`),
    except on loopback. Make it inside the event loop that uses it.

    Args:
        address: `wss://host:port`; on a loopback address also `ws://host:port`, without TLS.
        credentials: of the client; the server's certificate must come from their authority.
        server_name: the name to expect in the server's certificate; by default the host of the address.
        insecure: who the client says that it is, without TLS and on a loopback address only.
        deadline: seconds that a `call` may take.

    Raises:
        ConfigError: the address is none, or its scheme says otherwise; or not a loopback one and `insecure`; or there are
            neither credentials nor `insecure`.
        CertificateError: the credentials cannot be read, or do not belong together.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials | None = None,
        server_name: str = "",
        insecure: Peer | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        if insecure is None and credentials is None:
            raise ConfigError("a connection needs credentials", hint="enrol first")
        secure = insecure is None
        place = wire.place(address, secure=secure)
        context = None if credentials is None or not secure else tls.client(credentials, names=True)

        async def dial() -> Socket:
            return await wire.dial(place, wire.CALLS, context=context, server_name=server_name, insecure=insecure)

        super().__init__(_Dialled(dial), wire.written(place, secure=secure), deadline)


class _Dialled:
    """A link that is dialled when it is first asked for, and again when it is over."""

    def __init__(self, dial: Callable[[], Awaitable[Socket]]) -> None:
        self._dial = dial
        self._attempt: asyncio.Task[Link] | None = None
        self._running: dict[asyncio.Task[HansaError], Link] = {}
        self._why: HansaError | None = None

    async def link(self) -> Link:
        """The open one, or a new one: those who ask at once wait for the same attempt."""
        if self._why is None and (self._attempt is None or _useless(self._attempt)):
            self._attempt = asyncio.create_task(self._linked())
        attempt = self._attempt
        if attempt is not None:
            await asyncio.wait([attempt])
        if self._why is not None or attempt is None or attempt.cancelled():
            raise again(self._why or NotConnected("this connection was closed"))
        error = attempt.exception()
        if isinstance(error, HansaError):
            raise again(error)
        return attempt.result()

    async def close(self, why: HansaError) -> None:
        """Dial no more, and close what is open."""
        self._why = why
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
            await asyncio.wait([attempt])
        await asyncio.gather(*(link.close(why) for link in self._running.values()))

    async def _linked(self) -> Link:
        link = Link(await self._dial())
        running = asyncio.create_task(link.run())
        self._running[running] = link
        running.add_done_callback(self._running.pop)
        return link


def _useless(attempt: asyncio.Task[Link]) -> bool:
    """Whether an attempt to dial failed, or what it gave is over."""
    return attempt.done() and (attempt.cancelled() or attempt.exception() is not None or not attempt.result().alive)
