"""500 rounds, and Ctrl-C in the middle of one: what a simulation takes with time, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.federation.rows import at_most, row
from benchmarks.simulation.lineup import ours
from benchmarks.simulation.prepared import prepare
from benchmarks.simulation.racing import Contestant, Failed, Running
from benchmarks.simulation.tree import family, together
from benchmarks.simulation.workloads import WORKLOADS

ROUNDS, EVERY = 500, 50
EXECUTORS = {"2 processes": "Processes(workers=2)", "as chosen": ""}
PATIENCE = 30.0
"""Seconds that a process may take to go."""


@dataclass(frozen=True)
class Held:
    """What a simulation holds after a round: bytes, processes, file descriptors."""

    round: int
    memory: int
    processes: int
    descriptors: int

    @classmethod
    def by(cls, pid: int, round_: int) -> Held:
        """A process and its descendants."""
        pids = family(pid)
        return cls(round_, together(pid), len(pids), sum(len(os.listdir(f"/proc/{each}/fd")) for each in pids))


def run() -> list[dict[str, Any]]:
    """For each executor: the slope of its memory, what it holds at the end, what is left of it, and after Ctrl-C."""
    rows = []
    workload = WORKLOADS["mlp-10"]
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as folder:
        prepare(workload, Path(folder))
        for name, executor in EXECUTORS.items():
            contestant = ours(name, workload, "torch", "fast", Path(folder), executor)
            rows += _endured(name, contestant) + _interrupted(name, contestant)
    return rows


def _endured(name: str, contestant: Contestant) -> list[dict[str, Any]]:
    before = left_over()
    with Running(contestant) as running:
        running.ready()
        held = []
        for number in range(1, ROUNDS + 1):
            running.round(number)
            if number % EVERY == 0 and number > ROUNDS // 5:
                held.append(Held.by(running.pid, number))
    slope = np.polyfit([each.round for each in held], [each.memory / 1e6 for each in held], 1)[0] * 100
    first, last = held[0], held[-1]
    return [
        row(f"{name}: memory after {ROUNDS} rounds", [last.memory / 1e6], "MB"),
        at_most(f"{name}: growth of memory in 100 rounds", [float(slope)], "MB", 1),
        at_most(f"{name}: more processes than at first", [last.processes - first.processes], "", 0),
        at_most(f"{name}: more descriptors than at first", [last.descriptors - first.descriptors], "", 0),
        at_most(f"{name}: left behind", [len(left_over() - before) + len(_session(running.pid))], "", 0),
    ]


def _interrupted(name: str, contestant: Contestant) -> list[dict[str, Any]]:
    """Ctrl-C as a terminal sends it: to every process of the group, in the middle of a round."""
    before = left_over()
    with Running(contestant) as running:
        running.ready()
        took = [running.round(number)["seconds"] for number in (1, 2, 3, 4)]
        threading.Timer(took[-1] / 2, os.killpg, (running.pid, signal.SIGINT)).start()
        began = time.perf_counter()
        try:
            while time.perf_counter() - began < PATIENCE:
                running.round(5)
        except Failed:
            pass
        gone = time.perf_counter() - began
    return [
        at_most(f"{name}: seconds until Ctrl-C has ended it", [gone], "s", 5),
        at_most(f"{name}: left behind after Ctrl-C", [len(left_over() - before) + len(_session(running.pid))], "", 0),
    ]


def left_over() -> set[str]:
    """Shared memory, and folders of ours."""
    shared, folders = Path("/dev/shm"), Path(tempfile.gettempdir())  # noqa: S108 - where the system keeps it
    return {str(each) for each in shared.iterdir()} | {str(each) for each in folders.glob("hansa-*")}


def _session(pid: int) -> list[int]:
    """The processes of a session that are still there."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found
