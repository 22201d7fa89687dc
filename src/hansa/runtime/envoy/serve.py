"""An Envoy as a process: it looks at its owner's data, dials its Director for as long as it takes, and never listens."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from json import dumps

import hansa
from hansa.data.shards import ShardFacts
from hansa.errors import CertificateError, NotAllowed, NotConnected
from hansa.pki import Identity
from hansa.protocol import wire
from hansa.protocol.envoy import Cut, Envoy, Hears
from hansa.protocol.messages import VERSIONS, Goodbye, Hello, Welcome
from hansa.protocol.peer import Peer, Role
from hansa.runtime.config import EnvoyConfig
from hansa.runtime.envoy.approval import Approval
from hansa.runtime.envoy.collaborators import Collaborators
from hansa.runtime.envoy.core import Core
from hansa.runtime.envoy.transfers import Transfers
from hansa.runtime.files import now
from hansa.runtime.ledger import Ledger
from hansa.runtime.points import passes
from hansa.runtime.shelf import Shelf
from hansa.store.blobs import FileBlobs
from hansa.store.journal import SqliteJournal
from hansa.transport.backoff import delays
from hansa.transport.credentials import Credentials
from hansa.transport.grpc.client import GrpcConnection
from hansa.transport.malloc import tune

LOOK = 0.5
"""Seconds between two looks for decisions that a person made at the review desk."""

SKEW = 300.0
"""Seconds between this clock and the Director's from which on the owner is warned."""

PID = "envoy.pid"

_log = logging.getLogger("hansa.envoy")


async def serve(
    config: EnvoyConfig,
    *,
    insecure: bool = False,
    ready: Callable[[str], None] = lambda _: None,
    stop: asyncio.Event | None = None,
    collaborators: Collaborators | None = None,
) -> None:
    """Run an Envoy until it is asked to stop. A Director that is not up yet is waited for.

    Args:
        config: its settings.
        insecure: without certificates; to a Director on this machine only.
        ready: is told the Director's address, each time that a session begins.
        stop: stops it when it is set.
        collaborators: do the work; child processes unless given.

    Raises:
        DataError: the owner's data, or the class that reads them, are not as they should be.
        CertificateError: its certificate is missing, no longer good, or not accepted.
        NotAllowed: the Director does not want this Envoy, and says why.
        StoreError: its store is used by another process, or is damaged.
    """
    tune()
    stop = stop or asyncio.Event()
    with ExitStack() as stack:
        identity = None if insecure else Identity.load(config.identity, now=now())
        if identity is not None and identity.peer.name != config.name:
            raise CertificateError(
                f"the certificate is for {identity.peer.name!r}, and this Envoy is called {config.name!r}",
                where=str(config.identity),
                hint="use its own certificate, or its own name",
            )
        config.store.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = SqliteJournal(config.store / "journal.sqlite")
        stack.callback(journal.close)
        pid = config.store / PID
        pid.write_text(f"{os.getpid()}\n")
        stack.callback(pid.unlink, missing_ok=True)
        ledger = Ledger(journal)
        machine = Envoy(ledger.facts())
        shelf = Shelf(
            FileBlobs(config.store / "blobs", keep_free=config.keep_free),
            lambda: machine.needed().keys(),
            time.monotonic,
        )
        collaborators = collaborators or Collaborators(config, config.store / "runs", config.store)
        facts = await collaborators.census(config.store / "census")
        approval = Approval(config, config.store / "desk", None if identity is None else identity.ca)
        transfers = Transfers(shelf)
        core = Core(machine, ledger, shelf, collaborators, approval, transfers, config.store / "runs")
        await shelf.resume()
        dialler = _Dialler(config, identity, core, transfers, facts, ready)
        work = [core.keep_time(), _look(core), dialler.dial(), stop.wait(), core.failed]
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await core.stop()


async def _look(core: Core) -> None:
    """See what a person decided with `hansa envoy review`."""
    while True:
        await asyncio.sleep(LOOK)
        for event in core.approval.news():
            await core.handle(event)


class _Dialler:
    """Holds a session with the Director, again and again."""

    def __init__(
        self,
        config: EnvoyConfig,
        identity: Identity | None,
        core: Core,
        transfers: Transfers,
        facts: ShardFacts,
        ready: Callable[[str], None],
    ) -> None:
        self._config, self._identity, self._core = config, identity, core
        self._transfers, self._facts, self._ready = transfers, facts, ready
        self._delays = delays(random.Random())  # noqa: S311 - when to dial again is no secret

    async def dial(self) -> None:
        """Dial until there is a session, and again when it is over.

        Raises:
            CertificateError, NotAllowed, ProtocolError: dialling again makes no sense.
        """
        told = ""
        while True:
            try:
                await self._session()
                told = ""
            except NotConnected as problem:
                if problem.line != told:
                    told = problem.line
                    _log.warning("no Director at %s, dialling on: %s", self._config.director, told)
            await asyncio.sleep(next(self._delays))

    async def _session(self) -> None:
        async with self._connection() as connection:
            while not self._core.outgoing.empty():  # what an earlier session did not take; the Director is told anew
                self._core.outgoing.get_nowait()
            try:
                async for frame in connection.session(self._frames()):
                    await self._hear(wire.decode(frame), connection)
            finally:
                self._transfers.connected(None)
                await self._core.handle(Cut())

    async def _hear(self, message: object, connection: GrpcConnection) -> None:
        if isinstance(message, Goodbye):
            if message.again:
                raise NotConnected(message.why)
            raise NotAllowed(f"the Director does not take this Envoy: {message.why}")
        if isinstance(message, Welcome):
            self._delays = delays(random.Random())  # noqa: S311 - as above
            warn_of_skew(message.clock - time.time())
            self._transfers.connected(connection)
            _log.info("in session with the Director at %s", self._config.director)
            self._ready(self._config.director)
        await self._core.handle(Hears(message))  # type: ignore[arg-type]  # the machine takes what a Director says

    async def _frames(self) -> AsyncIterator[bytes]:
        yield wire.encode(
            Hello(
                VERSIONS,
                hansa.__version__,
                time.time(),
                dumps(self._facts.to_json()),
                dict(self._config.labels),
                self._config.devices,
            )
        )
        while True:
            kind, frame = await self._core.outgoing.get()
            yield frame
            passes(f"envoy: {kind} sent")

    def _connection(self) -> GrpcConnection:
        if self._identity is None:
            return GrpcConnection(self._config.director, insecure=Peer(self._config.name, Role.ENVOY))
        mine = self._identity
        return GrpcConnection(self._config.director, credentials=Credentials(mine.certificate, mine.key, mine.ca))


def warn_of_skew(skew: float) -> None:
    """Tell the owner where this clock and the Director's are far apart; nothing else depends on this machine's clock.

    Args:
        skew: how far the Director's clock is ahead, in seconds.
    """
    if abs(skew) > SKEW:
        way = "behind" if skew > 0 else "ahead of"
        _log.warning("this machine's clock is %.0f s %s the Director's: set it right", abs(skew), way)
