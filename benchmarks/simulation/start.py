"""From the start of a process to its first finished round, against the import of its framework."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.federation.rows import at_most, row
from benchmarks.simulation.racing import ROOT

FRAMEWORKS = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}
TURNS = 5


def run() -> list[dict[str, Any]]:
    """Seconds of both, and how much more a round takes; the first turn is not counted."""
    seconds: dict[str, list[float]] = {name: [] for each in FRAMEWORKS for name in (each, f"import {each}")}
    for turn in range(TURNS + 1):
        for name in FRAMEWORKS:
            imported = _until_finished(["-c", f"import {name}; print('finished', flush=True)"])
            ours = _until_finished(["-m", "benchmarks.simulation.first_round", name])
            if turn:
                seconds[f"import {name}"].append(imported)
                seconds[name].append(ours)
    rows = []
    for name, said in FRAMEWORKS.items():
        more = [a - b for a, b in zip(seconds[name], seconds[f"import {name}"], strict=True)]
        rows.append(row(f"import {name}", seconds[f"import {name}"], "s"))
        rows.append(row(f"a first round, {said}", seconds[name], "s"))
        rows.append(at_most("by how much more", more, "s", 0.5))
    return rows


def _until_finished(arguments: Sequence[str]) -> float:
    """Seconds until the process says so; its modules are compiled in the first turn, as installing a package does."""
    there = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=there, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it was given a pipe
        if process.stdout.readline() != "finished\n":
            raise SystemExit(f"{' '.join(arguments)} did not finish")
        return time.perf_counter() - began
