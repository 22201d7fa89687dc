"""A whole federation on this machine, as real processes over mutual TLS on loopback: for demos, tests and trying things out.

Everything lies in one folder: the authority, the Director, an Envoy for each owner, and a user's identity.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from hansa.data.owners import Owner
from hansa.errors import ChildDied, NotConnected
from hansa.pki import Authority, Identity
from hansa.protocol.peer import Role
from hansa.runtime.config import DirectorConfig, EnvoyConfig, template_director, template_envoy
from hansa.runtime.director.serve import AUTHORITY, IDENTITY
from hansa.runtime.files import now
from hansa.runtime.leash import Leash
from hansa.runtime.remembered import remember
from hansa.runtime.user import User

DIRECTOR, USER = "director", "user"

LISTENS = b"listening on wss://"
"""What an Envoy logs once it can be dialled."""

LOOK = 0.05
"""Seconds between two looks whether everybody is there."""

STOP = 15.0
"""Seconds that a process has to stop when it is asked to."""


class LocalFederation:
    """The processes of a federation on this machine. Use it in a `with` block, so that they end with it.

    They end with this process too, even where it is killed.

    Args:
        folder: for all of its files; made if need be.
        owners: the owners of data.
        change_director: changes the Director's settings, as the text of its TOML file, before it is written.
        change_envoy: changes an Envoy's, likewise.
        environment: variables for the processes, besides this one's.
        listening: the Envoys listen, each at an address of its own, and no Director is started: whoever coordinates them has
            one inside, with the folder `director` as its journal.

    Attributes:
        address: the Director's.
        workers: where Envoys that listen do so, by owner.
    """

    def __init__(
        self,
        folder: Path,
        owners: Sequence[Owner],
        *,
        change_director: Callable[[str], str] = lambda text: text,
        change_envoy: Callable[[str], str] = lambda text: text,
        environment: Mapping[str, str] | None = None,
        listening: bool = False,
    ) -> None:
        self.folder, self.owners = folder, {owner.name: owner for owner in owners}
        self.address = f"127.0.0.1:{free_port()}"
        self.workers: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._listening, self._logged = listening, dict[str, int]()
        self._environment = {**os.environ, **(environment or {})}
        self._change_director, self._change_envoy = change_director, change_envoy
        self._leash: Leash | None = None

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether `create` made a federation in this folder."""
        return (folder / DIRECTOR / "director.toml").exists()

    @classmethod
    def open(cls, folder: Path, *, environment: Mapping[str, str] | None = None) -> Self:
        """The federation that was created in this folder, as it was: the same address, owners, keys and stores.

        Args:
            folder: where `create` wrote it.
            environment: see the class.

        Raises:
            ConfigError: there is none, or its settings were changed to some that cannot be.
            CertificateError: its authority is gone.
        """
        director = DirectorConfig.load(folder / DIRECTOR / "director.toml")
        found = [EnvoyConfig.load(file) for file in sorted(folder.glob("*/envoy.toml"))]
        owners = [Owner(each.name, each.shard.descriptor, each.shard.parameters, each.shard.folder) for each in found]
        listening = bool(found) and all(each.listen for each in found)
        federation = cls(folder, owners, environment=environment, listening=listening)
        federation.address = director.address
        federation.workers = {each.name: each.listen for each in found if each.listen}
        federation.authority = Authority.open(folder / DIRECTOR / AUTHORITY)
        return federation

    # --- files

    def create(self) -> None:
        """Write everything: the authority, the identities and the settings."""
        folder = self.folder / DIRECTOR
        folder.mkdir(parents=True)
        self.authority = Authority.create(folder / AUTHORITY, "local", now=now())
        self.identify(folder / IDENTITY, DIRECTOR, Role.DIRECTOR, hosts=("localhost", "127.0.0.1"))
        text = template_director(address=self.address, hosts=("localhost", "127.0.0.1"))
        (folder / "director.toml").write_text(self._change_director(text))
        for owner in self.owners.values():
            self.add(owner)
        self.identify(self.folder / USER, USER, Role.USER)
        remember(self.folder / USER, self.address)

    def add(self, owner: Owner) -> None:
        """Write the files of one more owner."""
        self.owners[owner.name] = owner
        folder = self.folder / owner.name
        folder.mkdir(parents=True)
        self.identify(folder / IDENTITY, owner.name, Role.ENVOY)
        listen = f"wss://127.0.0.1:{free_port()}" if self._listening else ""
        if self._listening:
            self.workers[owner.name] = listen
        director = "" if self._listening else self.address
        text = template_envoy(owner.name, director, owner.descriptor, parameters=owner.parameters, listen=listen)
        text = text.replace('policy = "ask"', 'policy = "auto"')
        if owner.folder is not None:
            text = text.replace('folder = "."', f'folder = "{owner.folder.absolute()}"')
        (folder / "envoy.toml").write_text(self._change_envoy(text))

    def identify(self, folder: Path, name: str, role: Role, hosts: Sequence[str] = ()) -> Identity:
        """Give somebody a key and a certificate."""
        request = Identity.request(folder, name)
        certificate = self.authority.sign(request, name, role, now=now(), hosts=hosts)
        return Identity.install(folder, certificate, self.authority.certificate)

    # --- processes

    def start(self, name: str) -> None:
        """Start the Director, or the Envoy of an owner."""
        kind = DIRECTOR if name == DIRECTOR else "envoy"
        self._leash = self._leash or Leash()
        with (self.folder / f"{name}.log").open("ab") as log:
            self._logged[name] = log.tell()
            self.processes[name] = subprocess.Popen(  # noqa: S603 - our own interpreter and command
                [sys.executable, "-m", "hansa", kind, "start", str(self.folder / name)],
                stdin=self._leash.stdin,
                stdout=log,
                stderr=log,
                env=self._leash.environment(self._environment),
                start_new_session=True,  # Ctrl-C is for whoever holds the federation, which then stops it in order
            )

    def kill(self, name: str, number: int = getattr(signal, "SIGKILL", signal.SIGTERM)) -> None:
        """Send a process a signal, and wait until it is gone."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait()

    def up(self, seconds: float = 60.0) -> None:
        """Start everybody, and wait until all Envoys are in session, or listen.

        Raises:
            ChildDied: a process ended; the error shows the end of its log.
            NotConnected: not everybody was there in time.
        """
        for name in self.owners if self._listening else (DIRECTOR, *self.owners):
            if name not in self.processes:
                self.start(name)
        if self._listening:
            self._wait(self._deaf, seconds)
        else:
            with self.user() as user:
                self._wait(lambda: self._missing(user), seconds)

    def _wait(self, missing: Callable[[], list[str]], seconds: float) -> None:
        until = time.monotonic() + seconds
        while (names := missing()) and time.monotonic() < until:
            self.check()
            time.sleep(LOOK)
        if names:
            raise NotConnected(f"not there after {seconds:g} s: {', '.join(names)}", where=str(self.folder))

    def check(self) -> None:
        """See that all processes that were started are alive.

        Raises:
            ChildDied: one has ended; the error shows the end of its log.
        """
        for name, process in self.processes.items():
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                raise ChildDied(
                    f"{name} ended with status {process.returncode}:\n{log[-3000:]}", where=str(self.folder)
                )

    def user(self) -> User:
        """A user's connection."""
        return User(self.address, Identity.load(self.folder / USER, now=now()))

    def down(self) -> None:
        """Stop everybody."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        if self._leash is not None:
            self._leash.close()
            self._leash = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _missing(self, user: User) -> list[str]:
        try:
            here = {envoy["name"] for envoy in user.overview()["envoys"] if envoy["online"]}
        except NotConnected:
            return list(self.owners)
        return [name for name in self.owners if name not in here]

    def _deaf(self) -> list[str]:
        """Who does not listen yet, as their logs say."""
        return [name for name in self.owners if LISTENS not in self._log(name)]

    def _log(self, name: str) -> bytes:
        """What a process has logged since it was started."""
        with (self.folder / f"{name}.log").open("rb") as log:
            log.seek(self._logged[name])
            return log.read()


def free_port() -> int:
    """A port that nobody uses now, and that no system hands out for outgoing connections: so it stays free until it is used."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
