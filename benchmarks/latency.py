"""How long a small experiment takes on a real federation, and what the two long-lived processes cost while they wait."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.federation.ground import GIVEN, Submission, federation, ran
from benchmarks.federation.processes import cpu
from benchmarks.federation.rows import at_most, row
from hansa.runtime.local import LocalFederation

TURNS, IDLE = 7, 60.0
"""Turns, of which the first is not counted; seconds over which idle processes are watched."""


def run() -> list[dict[str, Any]]:
    """Three rounds of two Envoys, in NumPy and in PyTorch; then a minute of waiting."""
    numpy, torch, imports, ratios = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, federation(2) as made, made.user() as user:
        tiny = Submission.of(GIVEN / "tiny.py", Path(folder), tuple(made.owners))
        tiny_torch = Submission.of(GIVEN / "tiny_torch.py", Path(folder), tuple(made.owners), ("torch",))
        for turn in range(TURNS + 1):
            measured = ran(user, tiny).whole, _imports(3), ran(user, tiny_torch).whole
            if turn:
                numpy.append(measured[0])
                imports.append(measured[1])
                torch.append(measured[2])
                ratios.append(measured[2] / measured[1])
        idle = _idle(made)
    return [
        at_most("three rounds, NumPy, submitted to finished", numpy, "s", 2.0),
        row('three `python -c "import torch"` at once', imports, "s"),
        row("three rounds, PyTorch, submitted to finished", torch, "s"),
        at_most("the same, by the imports of its turn", ratios, "×", 3.0),
        *(at_most(f"idle: the {name}", [share], "% of a core", 0.5) for name, share in idle.items()),
    ]


def _imports(processes: int) -> float:
    began = time.perf_counter()
    started = [subprocess.Popen([sys.executable, "-c", "import torch"]) for _ in range(processes)]
    for process in started:
        process.wait()
    return time.perf_counter() - began


def _idle(made: LocalFederation) -> dict[str, float]:
    """Percent of a core that the processes take while nothing happens; of the Envoys the median."""
    pids = {name: process.pid for name, process in made.processes.items()}
    time.sleep(2)
    began, before = time.perf_counter(), {name: cpu(pid) for name, pid in pids.items()}
    time.sleep(IDLE)
    took = time.perf_counter() - began
    shares = {name: 100 * (cpu(pid) - before[name]) / took for name, pid in pids.items()}
    return {"Director": shares.pop("director"), "Envoy": statistics.median(shares.values())}
