"""Who races on which workload, and which ratios are held against which bars.

Peers run where the variable BENCH_PEERS names a folder of virtual environments, as `peers/install.sh` makes them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.simulation.prepared import cohort, prepare
from benchmarks.simulation.racing import EXPERTS, Contestant, Role
from benchmarks.simulation.ratios import Bar
from benchmarks.simulation.workloads import PLAIN, WORKLOADS, Plain, Workload

VARIABLE = "BENCH_PEERS"
PEERS = {"flower": 2, "pfl": 1_000, "fedjax": 1_000}
"""Other frameworks, and in how many rounds they are counted."""
PEERED = {
    "emnist-cnn": ("flower", "pfl", "fedjax"),
    "mlp-100": ("flower", "pfl", "fedjax"),
    "mlp-1000": ("flower", "pfl", "fedjax"),
    "cifar10-10": ("flower", "pfl", "fedjax"),
    "overhead-1000": ("flower", "pfl", "fedjax"),
}
WITH_JAX = ("emnist-cnn", "mlp-100", "mlp-1000")
AUTOGRAD, BF16, HAND, EXACT = "PyTorch", "PyTorch, bf16", "PyTorch, by hand", "PyTorch, exact"
JAX = {"step": "JAX, a jitted step", "vmap": "JAX, vmap over 4"}
WORKERS = "Processes(workers=2)"
"""Where a run with nothing chosen is after some seconds, unless its model is over 32 MB; said here, so that no counted round
holds the moving."""
FAST, REFERENCE, FAST_JAX = "Hansa, PyTorch, fast", "Hansa, PyTorch, reference", "Hansa, JAX, fast"


@dataclass(frozen=True)
class Lineup:
    """One table: its contestants and its bars."""

    contestants: Sequence[Contestant]
    bars: Sequence[Bar]


def python(name: str, role: Role, workload: Workload | Plain, program: str, *arguments: object) -> Contestant:
    """A contestant that this interpreter runs."""
    command = [sys.executable, "-m", f"benchmarks.simulation.{program}", workload.name, *map(str, arguments)]
    return Contestant(name, command, cohort(workload), role, EXPERTS if role == "floors" else {})


def ours(
    name: str, workload: Workload | Plain, framework: str, mode: str, folder: Path, executor: str = ""
) -> Contestant:
    """Hansa."""
    return python(name, "ours", workload, "ours", framework, mode, folder, executor)


def peers(workload: Workload | Plain, folder: Path) -> list[Contestant]:
    """Those that are installed."""
    there = os.environ.get(VARIABLE)
    if not there:
        return []
    found = []
    for peer in PEERED.get(workload.name, ()):
        interpreter = Path(there) / peer / "bin" / "python"
        if interpreter.is_file():
            command = [str(interpreter), "-m", f"benchmarks.simulation.peers.{peer}", workload.name, str(folder)]
            found.append(Contestant(peer, command, cohort(workload), "peers", {}, PEERS[peer]))
    return found


def training(name: str, folder: Path) -> Lineup:
    """A row of the table that trains."""
    workload = WORKLOADS[name]
    prepare(workload, folder)
    runners = [
        ours(FAST, workload, "torch", "fast", folder, WORKERS),
        ours(REFERENCE, workload, "torch", "reference", folder, WORKERS),
    ]
    floors = {AUTOGRAD: "autograd", BF16: "autograd-bf16", HAND: "hand", EXACT: "exact"}
    if workload.network == "mlp":
        del floors[BF16]  # slower
    if workload.network == "lstm":
        del floors[HAND]
    runners += [python(floor, "floors", workload, "floors_torch", kind, folder) for floor, kind in floors.items()]
    if name in WITH_JAX:
        kinds = ("step",) if workload.network == "cnn" else ("step", "vmap")
        runners.append(ours(FAST_JAX, workload, "jax", "fast", folder, WORKERS))
        runners += [python(JAX[kind], "floors", workload, "floors_jax", kind, folder) for kind in kinds]
    others = peers(workload, folder)
    bars = [
        Bar(FAST, (AUTOGRAD,), most=1.10),
        Bar(FAST, (BF16,)),
        Bar(FAST, (HAND,), most=1.0 if workload.network == "mlp" else None),
        Bar(REFERENCE, (EXACT,), most=1.25),
        Bar(FAST_JAX, tuple(JAX.values()), most=1.10),
        *(Bar(FAST, (peer.name,), most=1.05) for peer in others),
    ]
    return Lineup([*runners, *others], bars)


def overhead(folder: Path) -> Lineup:
    """What a client costs besides its work."""
    few, many = PLAIN["overhead-1000"], PLAIN["overhead-10000000"]
    runners, bars = [], []
    for workload, clients in ((few, "1,000"), (many, "10,000,000")):
        here = folder / workload.name
        here.mkdir()
        prepare(workload, here)
        fast, reference, loop = (
            f"{name}, {clients} clients" for name in ("Hansa, fast", "Hansa, reference", "bare loop")
        )
        runners += [
            ours(fast, workload, "adding", "fast", here),
            ours(reference, workload, "adding", "reference", here),
            python(loop, "floors", workload, "floors_plain", "loop"),
        ]
        bars += [Bar(fast, (loop,), most=1.7), Bar(reference, (loop,))]
        others = peers(workload, here)
        runners += others
        bars += [Bar(fast, (peer.name,), most=1.05) for peer in others]
    bars.append(Bar("Hansa, fast, 10,000,000 clients", ("Hansa, fast, 1,000 clients",), most=1.2))
    return Lineup(runners, bars)


def broadcast(folder: Path) -> Lineup:
    """What a large model costs: in copies of it for each client."""
    runners, bars = [], []
    for size in ("0MB", "20MB", "400MB"):
        workload = PLAIN[f"broadcast-{size}"]
        here = folder / workload.name
        here.mkdir()
        prepare(workload, here)
        fast, copies = f"Hansa, fast, {size}", f"a copy for each client, {size}"
        runners += [ours(fast, workload, "adding", "fast", here)]
        if size != "0MB":
            runners += [python(copies, "floors", workload, "floors_plain", "memcpy")]
            runners += [python(f"bare loop, {size}", "floors", workload, "floors_plain", "loop")]
            bars += [Bar(fast, (copies,), most=3), Bar(fast, (f"bare loop, {size}",))]
    return Lineup(runners, bars)


def scaling(folder: Path) -> Lineup:
    """One worker process against two; the floors' beside it say what the machine has to give."""
    runners, bars = [], []
    for name in ("emnist-cnn", "mlp-100", "mlp-1000", "cifar10-10", "cifar10-100", "shakespeare"):
        workload = WORKLOADS[name]
        here = folder / name
        here.mkdir()
        prepare(workload, here)
        one, two = f"{name}, 1 process", f"{name}, 2 processes"
        runners += [
            ours(one, workload, "torch", "fast", here, "Processes(workers=1)"),
            ours(two, workload, "torch", "fast", here, "Processes(workers=2)"),
            python(f"{one}, PyTorch", "floors", workload, "floors_torch", "autograd", here, 1),
            python(f"{two}, PyTorch", "floors", workload, "floors_torch", "autograd", here, 2),
        ]
        bars += [Bar(one, (two,), least=1.7), Bar(f"{one}, PyTorch", (f"{two}, PyTorch",))]
    return Lineup(runners, bars)


LINEUPS: dict[str, Callable[[Path], Lineup]] = {
    **{name: (lambda folder, name=name: training(name, folder)) for name in WORKLOADS},  # type: ignore[misc]
    "overhead": overhead,
    "broadcast": broadcast,
    "scaling": scaling,
}
