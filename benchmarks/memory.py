"""What a model of a gigabyte costs the two long-lived processes in memory: one round, with one Envoy."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.federation.ground import Submission, echo, federation, ran
from benchmarks.federation.processes import forget_peak, resident
from benchmarks.federation.rows import at_most

FLOATS, LEAVES = 250_000_000, 5
MB = 1e6


def run() -> list[dict[str, Any]]:
    """How far each process grows beyond what it had before the run, by the kernel's own record of the most."""
    with tempfile.TemporaryDirectory(prefix="hansa-bench-") as folder, federation(1) as made, made.user() as user:
        tiny = Submission.of(echo(Path(folder), 1_000, 1), Path(folder), tuple(made.owners))
        ran(user, tiny)  # what a first run loads is not the model's
        submission = Submission.of(echo(Path(folder), FLOATS, 1, leaves=LEAVES), Path(folder), tuple(made.owners))
        pids = {name: process.pid for name, process in made.processes.items()}
        before = {name: resident(pid) for name, pid in pids.items()}
        for pid in pids.values():
            forget_peak(pid)
        ran(user, submission)
        grown = {name: (resident(pid, "VmHWM") - before[name]) / MB for name, pid in pids.items()}
    return [at_most(f"growth of {name}, a model of 1 GB", [grown[name]], "MB", 100) for name in grown]
