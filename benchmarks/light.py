"""What an Envoy with a model in NumPy takes of a small device, installed with nothing but `pip install hansa`.

Memory is that of the Envoy and its children together while they work, as if nobody else ran on the machine; and the seconds
from `hansa envoy start` until it can be dialled. It listens on WebSocket over TLS, and this process coordinates it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hansa
from benchmarks.federation.memory_of import alone, proportional
from benchmarks.federation.processes import Watched, cpu_of_family, descendants
from benchmarks.federation.rows import at_most, row
from hansa.data.owners import Owner
from hansa.runtime.local import DIRECTOR, LISTENS, LocalFederation

GIVEN = Path(__file__).parent / "federation" / "given"
ROOT = Path(__file__).parents[1]
STARTS, PATIENCE = 7, 60.0
MB = 1e6


@dataclass(frozen=True)
class Taken:
    """What it took: seconds of each start, by the clock and of processors, and bytes; `accuracy` is the trained model's."""

    starts: tuple[float, ...]
    computed: tuple[float, ...]
    idle: int
    working: int
    counted: int
    accuracy: float


def run() -> list[dict[str, Any]]:
    """Rows, from an environment that is made for them."""
    with tempfile.TemporaryDirectory(prefix="hansa-light-") as folder:
        began = time.perf_counter()
        python = installed(Path(folder))
        took = time.perf_counter() - began
        taken = measured([str(python), "-m", "hansa"], Path(folder) / "f")
    return [
        row("pip install hansa, with what it needs", [took], "s"),
        at_most("an Envoy's start, until it can be dialled", taken.starts, "s", 1),
        row("the same, of processors, its look at the data included", taken.computed, "s"),
        row("an Envoy that waits", [taken.idle / MB], "MB"),
        at_most("an Envoy and its Collaborator at work, alone on the machine", [taken.working / MB], "MB", 120),
        row("the same as the kernel counts it now (PSS)", [taken.counted / MB], "MB"),
    ]


def installed(folder: Path) -> Path:
    """The interpreter of a new environment with Hansa's wheel and what that needs, and no extras."""
    quiet = ["--quiet", "--disable-pip-version-check"]
    wheels = folder / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "wheel", *quiet, "--no-deps", "-w", wheels, ROOT], check=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", *quiet, "-c", ROOT / "constraints.txt", wheel], check=True)
    return python


def measured(command: list[str], folder: Path, *, starts: int = STARTS) -> Taken:
    """Start an Envoy again and again, then train with it.

    Args:
        command: the command `hansa`.
        folder: for the federation's files; made.
        starts: how often.
    """
    federation = LocalFederation(folder, [Owner("device", "light_shard:Digits", {}, GIVEN)], listening=True)
    federation.create()
    took, computed = [], []
    for _ in range(starts):
        with started(command, federation) as (pid, seconds):
            took.append(seconds)
            computed.append(cpu_of_family(pid))
    with started(command, federation) as (pid, _):

        def family() -> list[int]:
            return [pid, *descendants(pid)]

        idle = alone(family())
        with (
            hansa.Federation.connect(list(federation.workers.values()), journal=folder / DIRECTOR) as connected,
            Watched(lambda: alone(family())) as working,
            Watched(lambda: proportional(family())) as counted,
        ):
            file = GIVEN / "light.py"
            history = connected.run(hansa.load_experiment(file).experiment, source=file).history
    accuracy = history.entries[-1].metrics["accuracy"].value
    return Taken(tuple(took), tuple(computed), idle, working.most, counted.most, accuracy)


@contextlib.contextmanager
def started(command: list[str], federation: LocalFederation) -> Iterator[tuple[int, float]]:
    """An Envoy that can be dialled: its process, and how long that took.

    Raises:
        RuntimeError: it ended instead.
    """
    began, said = time.perf_counter(), list[bytes]()
    with subprocess.Popen(
        [*command, "envoy", "start", str(federation.folder / "device")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        guard = threading.Timer(PATIENCE, process.kill)
        guard.start()
        try:
            assert process.stderr is not None  # noqa: S101 - for the type checker
            for line in process.stderr:
                said.append(line)
                if LISTENS in line:
                    break
            else:
                raise RuntimeError(b"".join(said).decode())
            seconds = time.perf_counter() - began
            guard.cancel()
            drain = threading.Thread(target=lambda: said.extend(process.stderr or ()))
            drain.start()
            yield process.pid, seconds
        finally:
            guard.cancel()
            process.terminate()
            process.wait()
