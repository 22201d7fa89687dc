"""The ways in which others reach a Director: several listeners, of which some dial, as one.

This file must not know what is said over them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from hansa.errors import ConfigError
from hansa.protocol.peer import Peer, Role
from hansa.runtime.config import DirectorConfig, parse_url
from hansa.runtime.config.address import PLAIN, SECURE
from hansa.transport.credentials import Credentials
from hansa.transport.port import Listener, Service


@dataclass(frozen=True)
class Reception:
    """What every listener of a Director is made of.

    Attributes:
        service: whom it carries frames to.
        credentials: the Director's; None without certificates.
        admit: says who a caller is, by its certificate, PEM, or raises.
    """

    service: Service
    credentials: Credentials | None
    admit: Callable[[bytes], Peer]

    @property
    def insecure(self) -> bool:
        """Whether it is without certificates, and so on this machine only."""
        return self.credentials is None


class Listeners:
    """Several listeners as one.

    Args:
        listening: others dial these; they are started in this order.
        further: nobody dials these: they dial, or are within this process.
    """

    def __init__(self, listening: Sequence[Listener], further: Sequence[Listener] = ()) -> None:
        self._listening, self._all = tuple(listening), (*listening, *further)

    async def start(self) -> list[str]:
        """Start them all, or none; where others dial.

        Raises:
            ConfigError: an address cannot be used.
        """
        addresses: list[str] = []
        try:
            for listener in self._all:
                addresses += [await listener.start()]
        except BaseException:
            await asyncio.gather(*(each.stop() for each in self._all[: len(addresses)]), return_exceptions=True)
            raise
        return addresses[: len(self._listening)]

    async def stop(self, grace: float = 0.0) -> None:
        """Stop them all; see the port."""
        await asyncio.gather(*(listener.stop(grace) for listener in self._all))

    def expel(self, serials: Collection[str]) -> int:
        """End everything under way of peers with these certificates, however they came."""
        return sum(listener.expel(serials) for listener in self._all)


MakeListeners = Callable[[Reception], Listeners]
"""Makes a Director's listeners."""


def named_in(config: DirectorConfig) -> MakeListeners:
    """The listeners that a Director's settings name."""

    def made(reception: Reception) -> Listeners:
        from hansa.transport.grpc.server import GrpcListener  # an extra, which a script that coordinates does without

        plain = GrpcListener(
            reception.service,
            config.address,
            credentials=reception.credentials,
            admit=reception.admit,
            insecure=reception.insecure,
        )
        web = [_websocket(reception, config.websocket)] if config.websocket else []
        return Listeners([plain, *web], diallers(reception, config.name, config.workers))

    return made


def diallers(reception: Reception, name: str, workers: Sequence[str]) -> list[Listener]:
    """Those that dial Envoys which listen.

    Args:
        reception: the Director's.
        name: the Director's, for workers that know it by no certificate.
        workers: where the Envoys listen, "wss://host:port" each; without certificates, "ws://host:port".

    Raises:
        ConfigError: some are reached with certificates, others without; or one is named twice.
    """
    if not workers:
        return []
    from hansa.transport.websocket import WebSocketDialler

    insecure = Peer(name, Role.DIRECTOR) if reception.insecure else None
    for worker in workers:
        scheme, _, _ = parse_url(worker)
        if (scheme == PLAIN) is not reception.insecure:
            has = "without certificates" if reception.insecure else "with certificates"
            raise ConfigError(
                f"this Director runs {has}, and {worker} is reached {'with' if reception.insecure else 'without'} them",
                hint=f"name workers as {PLAIN if reception.insecure else SECURE}://host:port",
            )
        if workers.count(worker) > 1:
            raise ConfigError(f"{worker!r} is among the workers twice", hint="leave one out")
    return [
        WebSocketDialler(
            reception.service,
            worker,
            credentials=reception.credentials,
            admit=reception.admit,
            insecure=insecure,
        )
        for worker in workers
    ]


def _websocket(reception: Reception, address: str) -> Listener:
    from hansa.transport.websocket import WebSocketListener

    return WebSocketListener(
        reception.service,
        address,
        credentials=reception.credentials,
        admit=reception.admit,
        insecure=reception.insecure,
    )
