"""How an Envoy that listens holds sessions: with whoever dials it and proves to be a Director of its federation.

A coordinator that goes away, or is refused, or refuses, is no reason to end: it, or another, may dial again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from hansa.errors import CertificateError, HansaError, NotConnected
from hansa.pki import Identity, peer_of
from hansa.protocol.peer import Peer, Role
from hansa.runtime.config import EnvoyConfig, parse_url
from hansa.runtime.config.address import PLAIN
from hansa.runtime.envoy.session import Sessions
from hansa.transport.credentials import Credentials
from hansa.transport.port import Connection
from hansa.transport.websocket import WebSocketWorker

REFUSED = 15.0
"""Seconds until a coordinator may try again with which there was no session for a reason that stays."""

_log = logging.getLogger("hansa.envoy")


class Listening:
    """Waits for coordinators at one address.

    Args:
        config: the Envoy's settings.
        identity: who it is; None without certificates.
        sessions: what is said and heard.
        ready: is told the address, once others can dial it.

    Raises:
        CertificateError: the address is one for certificates and there are none, or the other way round.
    """

    def __init__(
        self, config: EnvoyConfig, identity: Identity | None, sessions: Sessions, ready: Callable[[str], None]
    ) -> None:
        plain = parse_url(config.listen, listening=True)[0] == PLAIN
        if plain is not (identity is None):
            raise CertificateError(
                f"{config.listen} is {'without' if plain else 'with'} certificates, and this Envoy has "
                + ("one" if plain else "none"),
                hint="ws:// goes with --insecure, wss:// without",
            )
        self._config, self._identity, self._sessions, self._ready = config, identity, sessions, ready
        self._told = ""

    async def listen(self) -> None:
        """Hold one session after the other, until it is cancelled. A coordinator that dials anew takes over from itself.

        Raises:
            ConfigError: the address cannot be used.
        """
        mine = self._identity
        credentials = None if mine is None else Credentials(mine.certificate, mine.key, mine.ca)
        insecure = Peer(self._config.name, Role.ENVOY) if mine is None else None
        worker = WebSocketWorker(self._config.listen, credentials=credentials, admit=admitted, insecure=insecure)
        try:
            async with worker, asyncio.TaskGroup() as group:
                _log.info("listening on %s", worker.address)
                self._ready(worker.address)
                await self._take(worker, group)
        except* HansaError as problems:
            raise problems.exceptions[0] from None

    async def _take(self, worker: WebSocketWorker, group: asyncio.TaskGroup) -> None:
        session: asyncio.Task[None] | None = None
        async for connection in worker:
            if session is not None:
                session.cancel()
                await asyncio.wait([session])
            session = group.create_task(self._held(connection))

    async def _held(self, connection: Connection) -> None:
        async with connection:
            try:
                await self._sessions.hold(connection, self._welcomed)
                self._tell("the coordinator has ended the session")
            except NotConnected as problem:
                self._tell(f"the coordinator has gone: {problem.line}")
            except HansaError as problem:
                self._tell(f"a coordinator dialled, and there is no session with it: {problem.line}")
                await asyncio.sleep(REFUSED)  # else it would dial at once, and be told the same

    def _welcomed(self) -> None:
        self._told = ""
        _log.info("in session with a coordinator at %s", self._config.listen)

    def _tell(self, what: str) -> None:
        if what != self._told:
            self._told = what
            _log.warning("%s; listening on", what)


def admitted(certificate: bytes) -> Peer:
    """Who dials, by a certificate that the federation's authority has issued.

    Raises:
        CertificateError: it is no Director.
    """
    peer = peer_of(certificate)
    if peer.role is not Role.DIRECTOR:
        raise CertificateError(
            f"{peer.name!r} is no Director, and a worker that listens speaks with none else",
            hint="dial it with a Director's identity, as hansa director init makes one",
        )
    return peer
