"""A folder with all that a workload's contestants start from: examples, initial parameters, and Hansa's experiment files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulation.workloads import SEED, Plain, Workload
from hansa.core.keys import key

GIVEN = Path(__file__).parent / "given"
ENDLESS = 1_000_000
"""Rounds of a run that is stopped when nobody asks for more."""
KNOWN = 100
"""Rounds whose cohorts are written down, for peers that cannot be told of them one by one."""


def prepare(workload: Workload | Plain, folder: Path) -> None:
    """Fill the folder."""
    drawn = cohort(workload)
    (folder / "cohorts.json").write_text(json.dumps([drawn(round_) for round_ in range(1, KNOWN + 1)]))
    if isinstance(workload, Plain):
        numbers = (workload.leaves, workload.floats, workload.cohort, ENDLESS, SEED)
        _write(folder, "adding.py", "LEAVES, FLOATS, COHORT, ROUNDS, SEED", ", ".join(map(str, numbers)))
        return
    from benchmarks.simulation.given.networks_torch import made

    workload.write(folder)
    initial: dict[str, Any] = {
        name: each.detach().numpy() for name, each in made(workload.network, SEED).named_parameters()
    }
    np.savez(folder / "initial.npz", **initial)
    optimizer = f"hansa.{'Adam' if workload.adam else 'SGD'}({workload.rate})"
    row = f'"{workload.network}", {optimizer}, {workload.batch}, {workload.cohort}, {ENDLESS}, {SEED}'
    for framework in ("torch", "jax"):
        _write(folder, f"with_{framework}.py", "NETWORK, OPTIMIZER, BATCH, COHORT, ROUNDS, SEED", row)
        network = f"networks_{framework}.py"
        (folder / network).write_text((GIVEN / network).read_text())


def cohort(workload: Workload | Plain) -> Callable[[int], list[int]]:
    """Who takes part in a round, as `hansa.UniformSampler` draws them."""

    def drawn(round_: int) -> list[int]:
        generator = key(SEED, "cohort", round_).generator()
        return generator.choice(workload.clients, workload.cohort, replace=False).tolist()  # type: ignore[no-any-return]

    return drawn


def _write(folder: Path, name: str, names: str, row: str) -> None:
    """An experiment file with the numbers of a row."""
    begin, _, rest = (GIVEN / name).read_text().partition(f"{names} = ")
    (folder / name).write_text(f"{begin}{names} = {row}\n{rest.partition(chr(10))[2]}")
