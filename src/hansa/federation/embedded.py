"""A Director inside a script: a thread of this process that dials Envoys which listen. It has no port of its own.

Whatever a Director keeps is in its folder; so another process may go on from there, and `hansa director start` too.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, TimeoutError, wait  # noqa: A004 - both are one
from contextlib import suppress
from pathlib import Path

from hansa.errors import CertificateError, ConfigError, NotConnected
from hansa.pki import Authority, Identity
from hansa.pki.identity import KEY
from hansa.protocol.peer import Peer, Role
from hansa.runtime.background import Background
from hansa.runtime.config import DirectorConfig, parse_url
from hansa.runtime.config.address import PLAIN
from hansa.runtime.director.listeners import Listeners, Reception, diallers
from hansa.runtime.director.serve import AUTHORITY, GRACE, IDENTITY, serve
from hansa.runtime.files import now
from hansa.runtime.user import Inside, User
from hansa.transport.memory import MemoryListener
from hansa.transport.port import Connection

FILE = "director.toml"
"""The Director's settings, in the folder of its journal; without such a file, its defaults."""

USER, COORDINATOR = "user", "coordinator"
"""The folder of the key that experiments are signed with, beside the Director's own; and the name in its certificate."""


class EmbeddedDirector:
    """A Director in a thread; see `Federation.connect`. It ends with `stop`, and with the process.

    Args:
        workers: where the Envoys listen, "wss://host:port" each; or all "ws://host:port", on this machine.
        journal: the Director's folder.
        identity: the folder with its authority and its identity; the journal's unless given.

    Raises:
        ConfigError: the addresses are none, or the folder's settings cannot be.
        CertificateError: there is no authority or no identity, or it is no longer good.
        StoreError: another process works with this journal, or it is damaged.
    """

    def __init__(self, workers: Sequence[str], journal: Path, identity: Path | None = None) -> None:
        self.workers, self.folder = tuple(workers), identity or journal
        self.config = _settings(journal)
        self._insecure = _insecure(self.workers)
        self._signs = None if self._insecure else _signer(self.folder)
        self._memory: MemoryListener | None = None
        self._background, self._stopping = Background("hansa-director"), asyncio.Event()
        there: Future[None] = Future()
        self._serving = self._background.begin(self._live(there))
        self._end = weakref.finalize(self, _ended, self._background, self._serving, self._stopping)
        try:
            wait([there, self._serving], return_when=FIRST_COMPLETED)
            self.check()
        except BaseException:
            self.stop()
            raise

    def user(self) -> User:
        """A connection to it, for the script itself."""
        return User("", self._signs, inside=Inside(self._background, self._connected, self.check))

    def check(self) -> None:
        """See that it is there.

        Raises:
            HansaError: what ended it.
        """
        if self._serving.done():
            self._serving.result()
            raise NotConnected("this federation was closed", hint="connect again")

    def stop(self) -> None:
        """End it in order; its runs go on when somebody begins again with its journal."""
        self._end()

    async def _live(self, there: Future[None]) -> None:
        await serve(
            self.config,
            self.folder,
            insecure=self._insecure,
            ready=lambda _: there.set_result(None),
            stop=self._stopping,
            listeners=self._listeners,
        )

    def _listeners(self, reception: Reception) -> Listeners:
        self._memory = MemoryListener(reception.service)
        return Listeners([], [self._memory, *diallers(reception, self.config.name, self.workers)])

    def _connected(self) -> Connection:
        assert self._memory is not None, "it was waited for"  # noqa: S101 - for the type checker
        return self._memory.connect(Peer(COORDINATOR, Role.USER) if self._signs is None else self._signs.peer)


def _ended(background: Background, serving: Future[None], stopping: asyncio.Event) -> None:
    background.begin(_set(stopping))
    with suppress(Exception, CancelledError, TimeoutError):  # what ended it before, whoever used it was told
        serving.result(2 * GRACE)
    background.end()


async def _set(event: asyncio.Event) -> None:
    event.set()


def _settings(journal: Path) -> DirectorConfig:
    file = journal / FILE
    return DirectorConfig.load(file) if file.exists() else DirectorConfig(store=journal.absolute() / "store")


def _insecure(workers: Sequence[str]) -> bool:
    """Whether they are all reached without certificates; where some are, the Director says which cannot be."""
    if not workers:
        raise ConfigError("there are no workers to connect to", hint='name them: ["wss://alice.example.org:8777", ...]')
    return parse_url(workers[0])[0] == PLAIN


def _signer(folder: Path) -> Identity:
    """Who signs this script's experiments: an identity of the same authority, made where there is none that is good."""
    if not (folder / IDENTITY / KEY).exists():
        raise CertificateError(
            "there is no Director's identity in this folder, and workers speak with none else",
            where=str(folder),
            hint=f"make one with: hansa director init {folder}; then give each worker a certificate of it with"
            f" hansa pki issue NAME --role envoy --csr NAME.csr --authority {folder}",
        )
    with suppress(CertificateError):
        return Identity.load(folder / USER, now=now())
    authority = Authority.open(folder / AUTHORITY)
    request = Identity.request(folder / USER, COORDINATOR)
    certificate = authority.sign(request, COORDINATOR, Role.USER, now=now(), again=True)
    return Identity.install(folder / USER, certificate, authority.certificate)
