"""An Envoy as a process: it looks at its owner's data, and dials its Director for as long as it takes, or listens for it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

from hansa.errors import CertificateError
from hansa.pki import Identity
from hansa.protocol.envoy import Envoy
from hansa.runtime.config import EnvoyConfig
from hansa.runtime.envoy.approval import Approval
from hansa.runtime.envoy.bandwidth import Bucket
from hansa.runtime.envoy.collaborators import Collaborators
from hansa.runtime.envoy.core import Core
from hansa.runtime.envoy.dialling import Dialler
from hansa.runtime.envoy.session import Sessions
from hansa.runtime.envoy.transfers import Transfers
from hansa.runtime.files import now
from hansa.runtime.ledger import Ledger
from hansa.runtime.shelf import Shelf
from hansa.store.blobs import FileBlobs
from hansa.store.journal import SqliteJournal
from hansa.transport.malloc import tune

LOOK = 0.5
"""Seconds between two looks for decisions that a person made at the review desk."""

PID = "envoy.pid"


async def serve(
    config: EnvoyConfig,
    *,
    insecure: bool = False,
    ready: Callable[[str], None] = lambda _: None,
    stop: asyncio.Event | None = None,
    collaborators: Collaborators | None = None,
) -> None:
    """Run an Envoy until it is asked to stop. A Director that is not up yet, or has not dialled yet, is waited for.

    Args:
        config: its settings.
        insecure: without certificates; with a Director on this machine only.
        ready: is told the Director's address, each time that a session begins; of an Envoy that listens its own, once.
        stop: stops it when it is set.
        collaborators: do the work; child processes unless given.

    Raises:
        DataError: the owner's data, or the class that reads them, are not as they should be.
        CertificateError: its certificate is missing, no longer good, or not accepted.
        NotAllowed: the Director that it dials does not want this Envoy, and says why.
        ConfigError: the address cannot be listened at.
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
        transfers = Transfers(shelf, Bucket(config.bandwidth.up), Bucket(config.bandwidth.down))
        core = Core(machine, ledger, shelf, collaborators, approval, transfers, config.store / "runs")
        await shelf.resume()
        sessions = Sessions(config, core, transfers, facts)
        meeting = _meeting(config, identity, sessions, ready)
        work = [core.keep_time(), _look(core), meeting, stop.wait(), core.failed]
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


def _meeting(
    config: EnvoyConfig, identity: Identity | None, sessions: Sessions, ready: Callable[[str], None]
) -> Coroutine[Any, Any, None]:
    """How it gets into session."""
    if config.listen:
        from hansa.runtime.envoy.listening import Listening  # and a library with it that others do without

        return Listening(config, identity, sessions, ready).listen()
    return Dialler(config, identity, sessions, ready).dial()


async def _look(core: Core) -> None:
    """See what a person decided with `hansa envoy review`."""
    while True:
        await asyncio.sleep(LOOK)
        for event in core.approval.news():
            await core.handle(event)
