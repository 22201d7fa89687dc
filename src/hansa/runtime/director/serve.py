"""A Director as a process: everything put together, started, and stopped so that nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from hansa.errors import CertificateError
from hansa.pki import Authority, Identity, expiry, peer_of
from hansa.protocol.director import Director
from hansa.protocol.peer import Peer, Role
from hansa.runtime.children.limits import Limits
from hansa.runtime.config import DirectorConfig
from hansa.runtime.director.aggregators import Aggregators
from hansa.runtime.director.approval import Approval
from hansa.runtime.director.core import Core
from hansa.runtime.director.listeners import Listeners, MakeListeners, Reception, named_in
from hansa.runtime.director.service import DirectorService
from hansa.runtime.files import now
from hansa.runtime.ledger import Ledger
from hansa.runtime.shelf import Shelf
from hansa.store.blobs import FileBlobs
from hansa.store.journal import SqliteJournal
from hansa.transport.credentials import Credentials
from hansa.transport.malloc import tune

LOOK = 0.25
"""Seconds between two looks for revocations and decisions that another process made."""

GRACE = 10.0
"""Seconds that transfers under way have when the Director stops."""

AUTHORITY, IDENTITY, PID = "authority", "identity", "director.pid"
"""The folders of the certificate authority and of the Director's own key, beside its file; and its process's number."""

_log = logging.getLogger("hansa.director")


async def serve(
    config: DirectorConfig,
    folder: Path,
    *,
    insecure: bool = False,
    ready: Callable[[str], None] = lambda _: None,
    stop: asyncio.Event | None = None,
    children: Callable[[Shelf], Aggregators] | None = None,
    listeners: MakeListeners | None = None,
) -> None:
    """Run a Director until it is asked to stop.

    Args:
        config: its settings.
        folder: where its authority and its identity are.
        insecure: without certificates; on a loopback address only.
        ready: is told the address, once others can dial it; the first one where it has several.
        stop: stops it when it is set.
        children: gives the Aggregators, over the Director's blobs; child processes unless given.
        listeners: makes its ways in; those that the settings name unless given.

    Raises:
        ConfigError: the address is in use, or settings do not go together.
        CertificateError: its certificate is missing or no longer good.
        StoreError: its journal is used by another process, or is damaged.
    """
    if listeners is None:  # else the process is somebody else's
        tune()
    with ExitStack() as stack:
        authority = None if insecure else Authority.open(folder / AUTHORITY)
        identity = None if insecure else Identity.load(folder / IDENTITY, now=now())
        config.store.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = SqliteJournal(config.store / "journal.sqlite")
        stack.callback(journal.close)
        ledger = Ledger(journal)
        machine = Director(
            ledger.facts(), max_running=config.max_running, patience=config.approval.deadline, beat=config.beat
        )
        blobs = FileBlobs(config.store / "blobs", keep_free=config.keep_free)
        shelf = Shelf(blobs, machine.needed, time.monotonic)
        limits = Limits(memory=config.limits.memory)
        aggregators = children(shelf) if children else Aggregators(shelf, limits, config.limits.time)
        core = Core(machine, ledger, shelf, aggregators, config.store / "runs")
        approval = Approval(config, config.store / "desk")
        admission = _Admission(authority)
        service = DirectorService(core, config, authority, approval)
        credentials = None if identity is None else Credentials(identity.certificate, identity.key, identity.ca)
        ways = (listeners or named_in(config))(Reception(service, credentials, admission))
        addresses = await ways.start()
        pid = config.store / PID
        pid.write_text(f"{os.getpid()}\n")
        stack.callback(pid.unlink, missing_ok=True)
        tasks = [
            asyncio.create_task(core.keep_time()),
            asyncio.create_task(_look(core, ways, admission, approval, authority)),
        ]
        try:
            await core.start()
            await core.expel(frozenset(), _revoked(authority))
            for address in addresses:
                _log.info("listening on %s", address)
            ready(addresses[0] if addresses else "")
            stopped = stop.wait() if stop is not None else asyncio.Event().wait()
            await _first(*tasks, core.failed, core.stopping.wait(), stopped)
        finally:
            _log.info("stopping")
            for task in tasks:
                task.cancel()
            await ways.stop(GRACE)
            await core.stop()


class _Admission:
    """Says who a caller is, by its certificate, at every call."""

    def __init__(self, authority: Authority | None) -> None:
        self._authority = authority
        self._stamp = None if authority is None else authority.stamp()
        self._revoked: frozenset[str] = frozenset() if authority is None else authority.revoked()
        self._known: dict[bytes, tuple[Peer, datetime]] = {}
        self._ended: frozenset[str] = frozenset()

    def __call__(self, certificate: bytes) -> Peer:
        """The caller.

        Raises:
            CertificateError: its certificate was revoked, or it is a Director itself.
        """
        if certificate not in self._known:
            self._known[certificate] = peer_of(certificate), expiry(certificate)
        peer, _ = self._known[certificate]
        if peer.serial in self._revoked:
            raise CertificateError(
                f"the certificate of {peer.name!r} was revoked", hint="ask an admin of the federation for another"
            )
        if peer.role is Role.DIRECTOR:
            raise CertificateError("a Director does not dial a Director", hint="use an identity of your own")
        return peer

    def news(self) -> Collection[str]:
        """The certificates that were revoked, or have expired, since this was last asked."""
        before, time_ = self._revoked | self._ended, now()
        if self._authority is not None and (stamp := self._authority.stamp()) != self._stamp:
            self._stamp, self._revoked = stamp, self._authority.revoked()
        expired = [certificate for certificate, (_, until) in self._known.items() if until <= time_]
        self._ended |= {self._known.pop(certificate)[0].serial for certificate in expired}
        return (self._revoked | self._ended) - before


def _revoked(authority: Authority | None) -> list[str]:
    """The Envoys that had a certificate, and have none that was not revoked."""
    issued = [] if authority is None else [each for each in authority.issued() if each.role is Role.ENVOY]
    good = {each.name for each in issued if each.revoked is None}
    return sorted({each.name for each in issued} - good)


async def _look(
    core: Core, ways: Listeners, admission: _Admission, approval: Approval, authority: Authority | None
) -> None:
    """See what other processes did: `hansa pki revoke`, `hansa director review`."""
    while True:
        await asyncio.sleep(LOOK)
        if serials := frozenset(admission.news()):
            ways.expel(serials)
            await core.expel(serials, _revoked(authority))
        for event in approval.decided(core.machine):
            await core.handle(event)


async def _first(*awaitables: object) -> None:
    """Wait for the first of these, and raise what it raised."""
    tasks = [each if isinstance(each, asyncio.Task) else asyncio.ensure_future(each) for each in awaitables]  # type: ignore[call-overload]  # tasks and coroutines
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def running(config: DirectorConfig) -> int | None:
    """The process number of the Director that uses this store, if one does."""
    try:
        pid = int((config.store / PID).read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid
