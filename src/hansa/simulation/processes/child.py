"""What runs in a worker process: load the works, then answer letters until the parent is gone.

This file must not know what letters say.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from hansa.errors import InputError
from hansa.experiment.reference import Mode
from hansa.simulation.processes.failures import told
from hansa.simulation.processes.letters import Letter, Letters, Written
from hansa.simulation.processes.lifeline import tie
from hansa.simulation.processes.memory import Shared
from hansa.simulation.processes.nursery import Bound, Nursery, cannot_fork
from hansa.simulation.processes.origin import Found, Origin
from hansa.simulation.processes.post import Parcel, received
from hansa.simulation.processes.progress import SIZE, Progress
from hansa.simulation.processes.worker import Worker
from hansa.simulation.station import FusedStation, PlainStation, Station


@dataclass(frozen=True)
class Orders:
    """What a worker process is told when it starts.

    Attributes:
        target: of the origin of the works.
        path: its sys.path, set before anything is imported.
        mode: of the run.
        device: where works compute.
        engine: the only one to use.
        fresh: every client in a process of its own.
        gpu_fraction: the share of a GPU's memory that one client may take.
        timeout: seconds that a client's work may take; only what is `fresh` looks after that itself.
        end: descriptor of its socket.
        lifeline: descriptor of its end of the lifeline.
        progress: descriptor of the memory where it says how far it is.
    """

    target: str
    path: list[str]
    mode: Mode
    device: str
    engine: str | None
    fresh: bool
    gpu_fraction: float | None
    timeout: float | None
    end: int = -1
    lifeline: int = -1
    progress: int = -1

    def text(self, **descriptors: int) -> str:
        """As JSON, with its descriptors."""
        return json.dumps({**asdict(self), **descriptors})


def main() -> None:
    """Be a worker."""
    orders = Orders(**json.loads(sys.argv[1]))
    tie(orders.lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it ends its workers itself
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # both are text files here
    with socket.socket(fileno=orders.end) as end:
        letters = Letters({})
        try:
            with Origin(orders.target).found() as found:
                letters = Letters(found.names)
                _serve(end, orders, found, letters)
        except ConnectionError:
            return  # the parent is gone
        except BaseException as problem:  # noqa: BLE001 - whatever it is, the parent tells it
            _send(end, letters.written(Letter("failed", {"told": told(problem)})))


def _serve(end: socket.socket, orders: Orders, found: Found, letters: Letters) -> None:
    station, once = _station(orders, found, end, letters)
    progress = Progress(Shared(orders.progress, SIZE).mapped(writable=True))
    worker = Worker(found.works, found.names, letters, station, orders.mode, progress)
    _send(end, letters.written(Letter("ready", {"once": once})))
    while (memory := received(end)) is not None:
        for reply in _replies(worker, letters, memory):
            _send(end, reply)
        del memory  # or it would be held until the next letter comes


def _replies(worker: Worker, letters: Letters, memory: memoryview) -> Iterator[Written]:
    try:
        letter = letters.read(memory)
    except InputError as problem:
        yield worker.refused(problem.line)
        return
    try:
        yield from worker.replies(letter)
    except Exception as problem:  # noqa: BLE001 - a rule that cannot sum here: the parent lets it, and tells what it says
        yield worker.refused(f"{type(problem).__name__}: {problem}")


def _station(orders: Orders, found: Found, end: socket.socket, letters: Letters) -> tuple[Station, str]:
    """Who carries works out, and why this process can serve but one client, where that is so."""
    if orders.fresh and orders.engine is None:  # trials are of no use to a process that lives for one visit
        station: Station = PlainStation(found.works)
    else:
        station = FusedStation(found.works, orders.mode, orders.device, orders.engine)
    bound = Bound(orders.device, orders.gpu_fraction)
    if not orders.fresh:
        bound.lay_down()
        return station, ""
    if why := cannot_fork():
        bound.lay_down()
        return station, why
    return Nursery(station, letters, bound, orders.timeout, end), ""


def _send(end: socket.socket, written: Written) -> None:
    sealed = Parcel.of(written)
    try:
        sealed.send(end)
    finally:
        sealed.close()
