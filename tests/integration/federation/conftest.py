"""A federation of real processes for these tests, and how to wait for what they do: always for a state, never for a time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

import hansa
from hansa.data import FederatedData
from hansa.data.owners import Owner
from hansa.experiment.package import Package
from hansa.federation.connected import ConnectedFederation
from hansa.federation.source import Source, packed
from hansa.pki import Identity
from hansa.protocol import codec
from hansa.protocol.messages import Request
from hansa.protocol.peer import Role
from hansa.runtime.files import now
from hansa.runtime.local import DIRECTOR, LocalFederation
from hansa.runtime.points import VARIABLE
from hansa.runtime.user import User
from hansa.testing import blobs

HERE = Path(__file__).parent
EXPERIMENTS, OWNED = HERE / "experiments", HERE / "owned"

PATIENCE = 120.0
"""Seconds after which a state is taken never to come; it only ends tests that would never end."""

OVER = ("finished", "failed", "cancelled")

ALICE = Owner("alice", "shards:One", {"client": "0"}, OWNED)
BOB = Owner("bob", "shards:Two", {"first": "1", "second": "2"}, OWNED)
CLIENTS = {"alice": "0", "bob/a": "1", "bob/b": "2"}
"""Which cloud each client of Alice and Bob holds."""


def until(what: str, holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until something holds, and return what it gave."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not (found := holds()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        pause.wait(0.02)
    return found


@dataclass
class Live:
    """A federation that is up.

    Attributes:
        local: its processes.
        armed: the file that names the point at which the next process is killed; see `hansa.runtime.points`.
    """

    local: LocalFederation
    armed: Path
    simulations: dict[Path, str] = field(default_factory=dict)

    @staticmethod
    def until(what: str, holds: Callable[[], Any]) -> Any:
        """Wait until something holds, and return what it gave."""
        return until(what, holds)

    # --- runs

    def package(self, entry: Path, **details: Any) -> tuple[Package, Path]:
        """An experiment file as it is submitted, and the file of its initial model."""
        loaded = hansa.load_experiment(entry)
        folder = Path(tempfile.mkdtemp(prefix="initial-", dir=self.local.folder))
        named = {"at_least": len(self.local.owners), **details}
        with loaded.importing():
            return packed(Source(entry), loaded.experiment, folder, **named)

    def submit(self, entry: Path, user: User | None = None, **details: Any) -> str:
        """Submit an experiment file; returns the run's id."""
        package, initial = self.package(entry, **details)
        if user is not None:
            return user.submit(package, initial)
        with self.local.user() as mine:
            return mine.submit(package, initial)

    def show(self, run: str) -> dict[str, Any]:
        """Where a run stands; while the Director is away, nothing."""
        try:
            with self.local.user() as user:
                return user.about(run)
        except hansa.errors.NotConnected:
            return {}

    def over(self, run: str) -> dict[str, Any]:
        """Wait until a run is over, and say how."""
        shown: dict[str, Any] = until(
            f"run {run} is over", lambda: (found := self.show(run)).get("phase") in OVER and found
        )
        return shown

    def finished(self, run: str) -> hansa.History:
        """Wait until a run has finished; the test fails if it ends otherwise."""
        shown = self.over(run)
        assert shown["phase"] == "finished", shown["why"]
        with self.local.user() as user:
            return user.history(run)

    def digest(self, entry: Path) -> str:
        """Run an experiment file, and say which bits its model has."""
        return codec.digest(self.finished(self.submit(entry)).model)

    def simulated(self, entry: Path, clients: Mapping[str, str] = CLIENTS) -> str:
        """The same in the simulator."""
        if entry not in self.simulations:
            self.simulations[entry] = codec.digest(simulate(entry, clients).model)
        return self.simulations[entry]

    def works(self) -> None:
        """The federation is as good as new: a run finishes with the bits that it should have."""
        entry = EXPERIMENTS / "averaging.py"
        assert self.digest(entry) == self.simulated(entry)

    # --- people

    def person(self, name: str, role: Role = Role.USER) -> User:
        """Somebody else's connection."""
        folder = self.local.folder / "people" / name
        if not folder.exists():
            self.local.identify(folder, name, role)
        return User(self.local.address, Identity.load(folder, now=now()))

    # --- processes

    def arm(self, point: str, occurrence: int = 1) -> None:
        """Have the process that passes a point killed there."""
        self.armed.write_text(f"{point}:{occurrence}")

    def died(self) -> list[str]:
        """Who of the Director and the Envoys has ended."""
        return [name for name, process in self.local.processes.items() if process.poll() is not None]

    def again(self, name: str) -> None:
        """Start a process that was killed by SIGKILL again."""
        ended = self.local.processes.pop(name).wait()
        self.local.start(name)
        assert ended == -signal.SIGKILL, f"{name} ended by itself:\n{self.log(name)[-3000:]}"

    def heal(self) -> None:
        """Make it as good as new after a test, so that the next one does not pay for it."""
        self.armed.unlink(missing_ok=True)
        for name in self.died():
            del self.local.processes[name]
        for name in (DIRECTOR, *self.local.owners):
            if name not in self.local.processes:
                self.local.start(name)
        self.online()
        with self.person("healer", Role.ADMIN) as admin:
            for run in admin.overview()["runs"]:
                if run["phase"] not in OVER:
                    admin.about(run["run"], Request.CANCEL)

    def kept_up(self, run: str) -> hansa.History:
        """Wait until a run has finished, while whoever of the Director and the Envoys is killed is started again."""

        def over() -> dict[str, Any]:
            for name in self.died():
                self.again(name)
            found = self.show(run)
            return found if found.get("phase") in OVER else {}

        shown = until(f"run {run} is over", over)
        assert shown["phase"] == "finished", shown["why"]
        with self.local.user() as user:
            return user.history(run)

    def submitted(self, entry: Path) -> str:
        """Submit an experiment file to a Director that may be killed meanwhile, and look afterwards whether it took it."""
        with self.local.user() as user:
            before = {run["run"] for run in user.overview()["runs"]}
            try:
                return self.submit(entry, user)
            except hansa.errors.NotConnected:
                self.again(DIRECTOR)
        self.online()
        with self.local.user() as user:
            new = [run["run"] for run in user.overview()["runs"] if run["run"] not in before]
        assert len(new) <= 1
        return new[0] if new else self.submit(entry)

    def restart(self, name: str) -> None:
        """Stop a process in order, and start it again."""
        self.local.kill(name, signal.SIGTERM)
        self.local.start(name)

    def online(self, *names: str) -> None:
        """Wait until these Envoys, or all of them, are in session."""

        def here() -> bool:
            try:
                with self.local.user() as user:
                    seats = user.overview()["envoys"]
            except hansa.errors.NotConnected:
                return False
            return {seat["name"] for seat in seats if seat["online"]} >= set(names or self.local.owners)

        until(f"in session: {', '.join(names) or 'all'}", here)

    def log(self, name: str) -> str:
        """What a process has logged."""
        return (self.local.folder / f"{name}.log").read_text(errors="replace")

    @property
    def store(self) -> Path:
        """The Director's."""
        return self.local.folder / DIRECTOR / "store"


def simulate(entry: Path, clients: Mapping[str, str]) -> hansa.History:
    """Run an experiment file in the simulator."""
    loaded, everybody = hansa.load_experiment(entry), blobs()
    data = FederatedData(
        {client: everybody[cloud] for client, cloud in clients.items()},
        {client: everybody.test[cloud] for client, cloud in clients.items()},
    )
    with loaded.importing():
        return hansa.Federation.simulate(data).run(loaded.experiment).history


class MakeLive(Protocol):
    """Makes federations that end with the test module."""

    def __call__(
        self,
        owners: Sequence[Owner] = (ALICE, BOB),
        *,
        director: Mapping[str, str] | None = None,
        envoy: Mapping[str, str] | None = None,
    ) -> Live:
        """Start one.

        Args:
            owners: the owners of data.
            director: for settings of the Director, as the file's template has them, what is there instead.
            envoy: for an Envoy's, likewise.
        """
        ...


def changed(settings: Mapping[str, str]) -> Callable[[str], str]:
    """A change of a settings file: each line is uncommented and put in place of another."""

    def change(text: str) -> str:
        for old, new in settings.items():
            assert old in text, f"{old!r} is not in the file:\n{text}"
            text = text.replace(old, new)
        return text

    return change


@pytest.fixture(scope="module")
def make_live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeLive]:
    """Makes federations that end with the test module."""
    made: list[LocalFederation] = []

    def make(
        owners: Sequence[Owner] = (ALICE, BOB),
        *,
        director: Mapping[str, str] | None = None,
        envoy: Mapping[str, str] | None = None,
    ) -> Live:
        folder = tmp_path_factory.mktemp("federation")
        local = LocalFederation(
            folder / "f",
            owners,
            change_director=changed({'beat = "20 s"': 'beat = "1 s"', **(director or {})}),
            change_envoy=changed(envoy or {}),
            environment={VARIABLE: str(folder / "point")},
        )
        made.append(local)
        local.create()
        local.up()
        return Live(local, folder / "point")

    try:
        yield make
    finally:
        for local in made:
            local.down()


@pytest.fixture(scope="module")
def shared(make_live: MakeLive) -> Live:
    """Alice, and Bob who hosts two clients; two experiments at once."""
    return make_live()


@pytest.fixture
def live(shared: Live) -> Iterator[Live]:
    """The module's federation, as good as new."""
    yield shared
    shared.heal()


# --- workers that listen

COORDINATES = '''"""A coordinating script: no Director's process anywhere."""
import sys
from pathlib import Path

import hansa
from hansa.protocol import codec

entry, journal, *workers = sys.argv[1:]
with hansa.Federation.connect(workers, journal=journal) as federation:
    run = federation.run(hansa.load_experiment(Path(entry)).experiment, source=entry)
    print(run.id, codec.digest(run.history.model))
'''

INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""Before a script for Ctrl-C: a process that is started in the background may inherit deaf ears from whoever started it."""


@dataclass
class Listening:
    """Workers that listen, and nobody who coordinates them yet.

    Attributes:
        local: the workers' processes.
        armed: see `Live`.
        scripts: the processes that coordinate, or did.
    """

    local: LocalFederation
    armed: Path
    scripts: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        """The coordinator's folder."""
        return self.local.folder / DIRECTOR

    @property
    def workers(self) -> list[str]:
        """Where they listen."""
        return list(self.local.workers.values())

    def connect(self) -> ConnectedFederation:
        """Coordinate them from this process."""
        return hansa.Federation.connect(self.workers, journal=self.journal)

    def script(self, entry: Path, *, own: str = COORDINATES) -> subprocess.Popen[str]:
        """Coordinate them from a process of its own, which may be killed at a point."""
        file = self.local.folder / "coordinates.py"
        file.write_text(INTERRUPTIBLE + own)
        script = subprocess.Popen(
            [sys.executable, str(file), str(entry), str(self.journal), *self.workers],
            env={**os.environ, VARIABLE: str(self.armed)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.scripts.append(script)
        return script

    def end(self) -> None:
        """End everything."""
        for script in self.scripts:
            script.kill()
            script.communicate()
        self.local.down()

    def arm(self, point: str, occurrence: int = 1) -> None:
        """Have the process that passes a point killed there."""
        self.armed.write_text(f"{point}:{occurrence}")

    def runs(self) -> list[str]:
        """The runs that have begun, by their folders."""
        folder = self.journal / "store" / "runs"
        return sorted(run.name for run in folder.iterdir()) if folder.exists() else []

    def log(self, name: str) -> str:
        """What a worker has logged."""
        return (self.local.folder / f"{name}.log").read_text(errors="replace")

    def processes(self) -> list[str]:
        """The command lines of all processes that have to do with this federation, but for this one."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError):  # gone meanwhile
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return [line for line in found if str(self.local.folder) in line]


class MakeListening(Protocol):
    """Makes workers that listen, which end with the test."""

    def __call__(
        self, owners: Sequence[Owner] = (ALICE, BOB), *, envoy: Mapping[str, str] | None = None, up: bool = True
    ) -> Listening:
        """Start them.

        Args:
            owners: of data.
            envoy: see `MakeLive`.
            up: whether they are started.
        """
        ...


@pytest.fixture
def make_listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeListening]:
    """Makes workers that listen, which end with the test."""
    made: list[Listening] = []

    def make(
        owners: Sequence[Owner] = (ALICE, BOB), *, envoy: Mapping[str, str] | None = None, up: bool = True
    ) -> Listening:
        folder = tmp_path_factory.mktemp("listening")
        local = LocalFederation(
            folder / "f",
            owners,
            change_director=changed({'beat = "20 s"': 'beat = "1 s"'}),
            change_envoy=changed(envoy or {}),
            environment={VARIABLE: str(folder / "point")},
            listening=True,
        )
        made.append(Listening(local, folder / "point"))
        local.create()
        if up:
            local.up()
        return made[-1]

    try:
        yield make
    finally:
        for listening in made:
            listening.end()
