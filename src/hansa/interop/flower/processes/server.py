"""A server as a process: a Director whose Aggregator, with the strategy in it, is a thread of the same process.

Nothing is shipped but a note: the clients' code is the clients' own. What travels, and how, is the protocol's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

from hansa.errors import ConfigError, HansaError
from hansa.experiment import Experiment
from hansa.experiment.files import ExperimentFile
from hansa.experiment.manifest import InitialModel, Manifest, SourceFile
from hansa.experiment.package import Package
from hansa.interop.flower.algorithm import StrategyAlgorithm
from hansa.interop.flower.processes.address import reachable
from hansa.interop.flower.server.client_manager import SimpleClientManager
from hansa.interop.flower.server.history import History
from hansa.interop.flower.server.server_config import ServerAppComponents, ServerConfig
from hansa.interop.flower.server.strategy.fedavg import FedAvg
from hansa.interop.flower.works import Nodes
from hansa.pki import Authority, Identity
from hansa.protocol import codec
from hansa.protocol.messages import Request
from hansa.protocol.peer import Peer, Role
from hansa.protocol.run import Run
from hansa.runtime.aggregator import Aggregator
from hansa.runtime.children.channel import Channel
from hansa.runtime.children.ended import Ended
from hansa.runtime.children.limits import Limits
from hansa.runtime.children.spawn import Child
from hansa.runtime.config import DirectorConfig
from hansa.runtime.director import serve as director
from hansa.runtime.director.aggregators import SCRATCH, Aggregators
from hansa.runtime.files import now
from hansa.runtime.shelf import Shelf
from hansa.runtime.user import User
from hansa.training.clients.work import ArrayModel

NOTE = b'"""The strategy of this run lives in its server\'s process, and every client\'s code at the client."""\n'
"""What is shipped instead of an experiment's source."""

NAME, ENTRY = "server", "flower.py"

EVER = 1e8
"""Seconds that a strategy may take for one step: its process is its owner's own."""

LEAVE = 10.0
"""Seconds that clients have to hear that the run is over."""


def serve(address: str, parts: ServerAppComponents, certificates: Path | str | None, seed: int) -> History:
    """See `hansa.interop.flower.processes.start_server`."""
    if parts.server is not None:
        raise ConfigError("a Server of one's own is not supported", hint="put what it does into a Strategy")
    algorithm = _algorithm(parts, seed)
    experiment = Experiment(ArrayModel(), algorithm, seed, initial={}, name="flower")
    with tempfile.TemporaryDirectory(prefix="hansa-server-") as folder:
        config = DirectorConfig(address=reachable(address, certificates), store=Path(folder) / "store", keep_free=0)
        home = None if certificates is None else _checked(certificates)
        with _listening(config, home, experiment, algorithm) as listens, _user(listens, home, Path(folder)) as user:
            run = user.submit(*_package(experiment, _needed(parts), Path(folder)))
            try:
                algorithm.history.run = user.wait(run)
            except KeyboardInterrupt:
                user.about(run, Request.CANCEL, "the server was interrupted")
                raise
            finally:
                _wait_for_leave(user)
    return algorithm.history


def _algorithm(parts: ServerAppComponents, seed: int) -> StrategyAlgorithm:
    manager = parts.client_manager or SimpleClientManager(seed)
    return StrategyAlgorithm(parts.strategy or FedAvg(), ServerConfig.of(parts.config), Nodes(_elsewhere), manager)


def _elsewhere(cid: str) -> Any:
    raise ConfigError(f"the client {cid!r} is another process")


def _needed(parts: ServerAppComponents) -> int:
    """How many clients must be there before a strategy is asked anything."""
    return max(1, getattr(parts.strategy or FedAvg(), "min_available_clients", 1))


# --- the Director, in a thread


@contextlib.contextmanager
def _listening(
    config: DirectorConfig, home: Path | None, experiment: Experiment, algorithm: StrategyAlgorithm
) -> Iterator[str]:
    """A Director that listens as long as the context lasts; gives its address."""
    ready: Future[tuple[str, Callable[[], object]]] = Future()

    async def live() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        await director.serve(
            config,
            home or config.store,
            insecure=home is None,
            ready=lambda address: ready.set_result((address, lambda: loop.call_soon_threadsafe(stop.set))),
            stop=stop,
            children=lambda shelf: InsideAggregators(shelf, experiment, algorithm),
        )

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as problem:  # noqa: BLE001 - whoever waits for it is told
            if not ready.done():
                ready.set_exception(problem)

    thread = threading.Thread(target=run, name="hansa-director", daemon=True)
    thread.start()
    address, stop = ready.result()
    try:
        yield address
    finally:
        stop()
        thread.join()


class InsideAggregators(Aggregators):
    """Aggregators that are threads of this process, and run one experiment that lives in it."""

    def __init__(self, shelf: Shelf, experiment: Experiment, algorithm: StrategyAlgorithm) -> None:
        super().__init__(shelf, Limits(), EVER)
        self._experiment, self._algorithm = experiment, algorithm

    async def born(self, run: Run, folder: Path) -> Child:
        """A thread, told where to begin."""
        scratch = folder / SCRATCH
        scratch.mkdir(parents=True, exist_ok=True)
        initial = run.submission.initial
        child = InsideChild(self._run)
        await child.send(
            {
                "folder": str(scratch),
                "state": None,
                "initial": {"path": str(self._path(initial.sha256)), "sha256": initial.sha256},
            }
        )
        return cast("Child", child)  # speaks as one does

    def _run(self, channel: Channel) -> None:
        """The Aggregator's life, in its thread."""
        start = channel.receive()
        try:
            loaded = ExperimentFile(Path(ENTRY), self._experiment, {})
            aggregator = Aggregator(channel, loaded, start or {})
            self._algorithm.follow(lambda: aggregator.population().ids)
            aggregator.run()
        except HansaError as problem:
            channel.send({"fails": {"why": str(problem)}})
        except Exception:  # noqa: BLE001 - the strategy's own code may raise anything; its clients are let go all the same
            channel.send({"fails": {"why": f"the strategy raised:\n{traceback.format_exc()}"}})


class InsideChild:
    """A thread of this process that is spoken with as with a child process: messages are JSON, and None ends them."""

    def __init__(self, body: Callable[[Channel], None]) -> None:
        self._loop, self._body = asyncio.get_running_loop(), body
        self._said: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._told: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._gone = asyncio.Event()
        threading.Thread(target=self._live, name="hansa-aggregator", daemon=True).start()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Hand a message to the thread."""
        self._told.put(json.loads(json.dumps(message)))

    async def receive(self) -> dict[str, Any] | None:
        """The thread's next message; None when it has ended."""
        return await self._said.get()

    async def kill(self, why: str = "") -> Ended:
        """Let the thread hear nothing more, so that it ends at its next question."""
        self._told.put(None)
        return Ended(None, None, why or "was ended by its parent")

    async def ended(self) -> Ended:
        """How it ended, once it has."""
        await self._gone.wait()
        return Ended(0, None, "ended")

    def _live(self) -> None:
        thread = _ThreadChannel(self._told.get, self._say)
        with contextlib.suppress(Exception):  # it was hung up on
            self._body(cast("Channel", thread))
        self._say(None)

    def _say(self, message: dict[str, Any] | None) -> None:
        with contextlib.suppress(RuntimeError):  # the Director's loop is over
            self._loop.call_soon_threadsafe(self._heard, message)

    def _heard(self, message: dict[str, Any] | None) -> None:
        self._said.put_nowait(None if message is None else json.loads(json.dumps(message)))
        if message is None:
            self._gone.set()


class _ThreadChannel:
    """A thread's end: what `hansa.runtime.children.channel.Channel` is to a process."""

    def __init__(
        self, receive: Callable[[], dict[str, Any] | None], send: Callable[[dict[str, Any] | None], None]
    ) -> None:
        self.receive, self.send = receive, send


# --- the run


def _package(experiment: Experiment, at_least: int, folder: Path) -> tuple[Package, Path]:
    """What is submitted, and the file of the initial model, which has no leaves: the strategy brings its own."""
    model, sha = codec.encode(experiment.start()), hashlib.sha256(NOTE).hexdigest()
    initial = folder / "initial.safetensors"
    initial.write_bytes(model)
    manifest = Manifest(
        name=experiment.name,
        files=(SourceFile(ENTRY, sha, len(NOTE)),),
        initial=InitialModel(hashlib.sha256(model).hexdigest(), len(model)),
        entry=ENTRY,
        at_least=at_least,
        seed=experiment.seed,
    )
    return Package(manifest, {sha: NOTE}), initial


def _user(address: str, home: Path | None, folder: Path) -> User:
    """Who submits the run: this process itself."""
    if home is None:
        return User(address, insecure=Peer(NAME, Role.USER))
    authority = Authority.open(home / director.AUTHORITY)
    request = Identity.request(folder / "user", NAME)
    certificate = authority.sign(request, NAME, Role.USER, now=now())
    return User(address, Identity.install(folder / "user", certificate, authority.certificate))


def _wait_for_leave(user: User) -> None:
    """Wait until the clients have heard that the run is over, and have left."""
    until = time.monotonic() + LEAVE
    while time.monotonic() < until and any(envoy["online"] for envoy in user.overview()["envoys"]):
        time.sleep(0.05)


def _checked(certificates: Path | str) -> Path:
    where: object = certificates
    if not isinstance(where, Path | str) or not (Path(where) / director.AUTHORITY).is_dir():
        raise ConfigError(
            "certificates names the folder of a Director, with its authority and its identity",
            hint="make one with: hansa director init FOLDER; clients enrol with: hansa pki enroll",
        )
    return Path(where)
