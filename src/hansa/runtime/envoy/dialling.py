"""How an Envoy that dials holds a session with its Director: again and again, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from hansa.errors import CertificateError, ConfigError, HansaError, MissingExtra, NotAllowed, ProtocolError
from hansa.pki import Identity
from hansa.protocol.peer import Peer, Role
from hansa.runtime.config import EnvoyConfig
from hansa.runtime.envoy.session import Sessions
from hansa.transport.backoff import delays
from hansa.transport.credentials import Credentials
from hansa.transport.dial import dialled
from hansa.transport.port import Connection

_FINAL = (CertificateError, NotAllowed, ProtocolError, ConfigError, MissingExtra)

_log = logging.getLogger("hansa.envoy")


class Dialler:
    """Dials a Director.

    Args:
        config: the Envoy's settings.
        identity: who it is; None without certificates.
        sessions: what is said and heard.
        ready: is told the Director's address, each time that a session begins.
    """

    def __init__(
        self, config: EnvoyConfig, identity: Identity | None, sessions: Sessions, ready: Callable[[str], None]
    ) -> None:
        self._config, self._identity, self._sessions, self._ready = config, identity, sessions, ready
        self._delays = delays(random.Random())  # noqa: S311 - when to dial again is no secret

    async def dial(self) -> None:
        """Dial until there is a session, and again when it is over.

        Raises:
            CertificateError, NotAllowed, ProtocolError, ConfigError, MissingExtra: dialling again makes no sense.
        """
        told = ""
        while True:
            try:
                async with self._connection() as connection:
                    await self._sessions.hold(connection, self._welcomed)
                told = ""
            except _FINAL:
                raise
            except HansaError as problem:  # that may be right again, and then its Envoys are there
                if problem.line != told:
                    told = problem.line
                    _log.warning("no Director at %s, dialling on: %s", self._config.director, told)
            await asyncio.sleep(next(self._delays))

    def _welcomed(self) -> None:
        self._delays = delays(random.Random())  # noqa: S311 - as above
        _log.info("in session with the Director at %s", self._config.director)
        self._ready(self._config.director)

    def _connection(self) -> Connection:
        address, mine = self._config.director, self._identity
        if mine is None:
            return dialled(address, insecure=Peer(self._config.name, Role.ENVOY))
        return dialled(address, credentials=Credentials(mine.certificate, mine.key, mine.ca))
