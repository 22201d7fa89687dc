"""The service that dials a worker which listens, again and again. It must not know what frames mean."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection

from hansa.errors import ConfigError, HansaError, NotConnected
from hansa.protocol.peer import Peer
from hansa.transport import tls
from hansa.transport.backoff import delays
from hansa.transport.credentials import Credentials
from hansa.transport.faults import internal
from hansa.transport.live import Live
from hansa.transport.port import Service
from hansa.transport.websocket import wire
from hansa.transport.websocket.link import Link
from hansa.transport.websocket.serving import Served

_LOG = logging.getLogger("hansa.transport")

Told = Callable[[HansaError | None], None]
"""Told why there is no connection, once for each new reason; and None when there is one."""


class WebSocketDialler:
    """A `Listener` that dials a `WebSocketWorker` and serves it; there may be one for each worker.

    Who the worker is, its own certificate says: `admit` looks at it, at every call. Its host's name does not matter, since a
    worker moves about; that its certificate is the authority's, and valid, is checked.

    Args:
        service: whom it carries the worker's calls to.
        address: `wss://host:port` of the worker; on a loopback address also `ws://host:port`, without TLS.
        credentials: of the service.
        admit: is given the worker's certificate, PEM, and says who that is, or raises. It runs in the event loop, so it must
            not wait.
        insecure: who the service says that it is, without TLS and on a loopback address only; the worker then is who it
            says it is.
        told: is told why there is no connection; by default the log is.

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
        insecure: Peer | None = None,
        told: Told | None = None,
    ) -> None:
        self._place = wire.place(address, secure=insecure is None)
        if insecure is None and (credentials is None or admit is None):
            raise ConfigError("a server needs credentials, and somebody who admits its callers")
        self._address = wire.written(self._place, secure=insecure is None)
        self._service, self._live, self._told = service, Live(), told or self._logged
        self._insecure, self._admit = insecure, None if insecure is not None else admit
        self._context = None if insecure is not None or credentials is None else tls.client(credentials, names=False)
        self._task: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._stopping, self._reason = False, ""

    async def start(self) -> str:
        """Begin to dial, and return at once; the worker's address.

        Raises:
            ConfigError: it was started before.
        """
        if self._task is not None:
            raise ConfigError("this server has been started already", hint="make another one")
        self._task = asyncio.create_task(self._dial())
        return self._address

    async def stop(self, grace: float = 0.0) -> None:
        """End sessions and watches at once, give everything else `grace` seconds, and dial no more."""
        self._stopping = True
        await self._live.stop(grace)
        if self._link is not None:
            await self._link.close(NotConnected("the server is stopping", hint="try again in a while"))
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def expel(self, serials: Collection[str]) -> int:
        """End everything under way of peers with these certificates."""
        return self._live.expel(serials)

    async def _dial(self) -> None:
        pauses = delays(random.Random())  # noqa: S311 - when to dial again is no secret
        while not self._stopping:
            try:
                if await self._serve():
                    pauses = delays(random.Random())  # noqa: S311 - as above
            except HansaError as problem:
                self._tell(problem)
            except Exception:  # noqa: BLE001 - whoever admits may raise anything, and the next attempt may go better
                _LOG.exception("the worker at %s could not be dialled", self._address)
                self._tell(internal())
            await asyncio.sleep(next(pauses))

    async def _serve(self) -> bool:
        """Hold one connection until it is over; whether the worker ever called."""
        socket = await wire.dial(self._place, wire.SERVES, context=self._context, insecure=self._insecure)
        try:
            wire.caller(socket, self._admit)
        except BaseException:
            socket.transport.abort()
            raise
        served = Served(socket, self._service, self._live, lambda: wire.caller(socket, self._admit))
        self._link = served.link
        self._tell(None)
        try:
            why = await served.run()
        finally:
            self._link = None
        if not self._stopping:
            self._tell(why)
        return served.link.used

    def _tell(self, problem: HansaError | None) -> None:
        reason = "" if problem is None else problem.line
        if reason != self._reason or problem is None:
            self._reason = reason
            self._told(problem)

    def _logged(self, problem: HansaError | None) -> None:
        if problem is None:
            _LOG.info("connected to the worker at %s", self._address)
        else:
            _LOG.warning("no worker at %s, dialling on: %s", self._address, problem.line)
