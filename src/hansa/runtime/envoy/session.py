"""One session of an Envoy with its Director, over whichever connection stands. It must not know who dialled it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from json import dumps
from typing import Any

import hansa
from hansa.errors import NotAllowed, NotConnected
from hansa.protocol import wire
from hansa.protocol.envoy import Cut, Hears
from hansa.protocol.messages import VERSIONS, Goodbye, Hello, Welcome
from hansa.runtime.config import EnvoyConfig
from hansa.runtime.envoy.core import Core
from hansa.runtime.envoy.offer import offered
from hansa.runtime.envoy.transfers import Transfers
from hansa.runtime.points import passes
from hansa.transport.frames import closing
from hansa.transport.port import Connection

SKEW = 300.0
"""Seconds between this clock and the Director's from which on the owner is warned."""

_log = logging.getLogger("hansa.envoy")


class Sessions:
    """What an Envoy says and hears in its sessions, one of which stands at a time.

    Args:
        config: the Envoy's settings.
        core: its state machine.
        transfers: moves blobs over the session's connection.
        facts: what it announces of its data: `hansa.data.shards.ShardFacts`, as JSON.
    """

    def __init__(self, config: EnvoyConfig, core: Core, transfers: Transfers, facts: Mapping[str, Any]) -> None:
        self._config, self._core, self._transfers, self._facts = config, core, transfers, facts

    async def hold(self, connection: Connection, welcomed: Callable[[], None]) -> None:
        """Hold a session over a connection until one side ends it.

        Args:
            connection: to the Director.
            welcomed: is called when the Director has taken this Envoy.

        Raises:
            NotConnected: the connection broke, or the Director asks to come again.
            NotAllowed: the Director does not want this Envoy, and says why.
            FederationError: whatever else the Director has against it.
        """
        self._core.begin_session()
        try:
            frames = connection.session(self._frames())
            async with closing(frames):  # else it would go on taking what is to be sent in the next
                async for frame in frames:
                    await self._hear(wire.decode(frame), connection, welcomed)
        finally:
            self._transfers.connected(None)
            await self._core.handle(Cut())

    async def _hear(self, message: object, connection: Connection, welcomed: Callable[[], None]) -> None:
        if isinstance(message, Goodbye):
            if message.again:
                raise NotConnected(message.why)
            raise NotAllowed(f"the Director does not take this Envoy: {message.why}")
        if isinstance(message, Welcome):
            warn_of_skew(message.clock - time.time())
            self._transfers.connected(connection)
            welcomed()
        await self._core.handle(Hears(message))  # type: ignore[arg-type]  # the machine takes what a Director says

    async def _frames(self) -> AsyncIterator[bytes]:
        offer = offered(self._config)
        yield wire.encode(
            Hello(
                VERSIONS,
                hansa.__version__,
                time.time(),
                dumps(self._facts),
                dict(self._config.labels),
                self._config.devices,
                offer.cores,
                offer.memory,
            )
        )
        while True:
            kind, frame = await self._core.outgoing.get()
            yield frame
            passes(f"envoy: {kind} sent")


def warn_of_skew(skew: float) -> None:
    """Tell the owner where this clock and the Director's are far apart; nothing else depends on this machine's clock.

    Args:
        skew: how far the Director's clock is ahead, in seconds.
    """
    if abs(skew) > SKEW:
        way = "behind" if skew > 0 else "ahead of"
        _log.warning("this machine's clock is %.0f s %s the Director's: set it right", abs(skew), way)
