"""Ours: `python -m benchmarks.simulation.ours NAME FRAMEWORK MODE FOLDER [EXECUTOR]` is a contestant.

Only what every user has: an experiment file, data, and `hansa.Federation.simulate`. FRAMEWORK is "torch", "jax" or "adding";
EXECUTOR one of `hansa.simulation.choice`, such as "Processes(workers=1)": nothing is chosen unless given.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import hansa
from benchmarks.simulation import workloads
from benchmarks.simulation.contestant import Turns
from benchmarks.simulation.layouts import converted
from benchmarks.simulation.workloads import PLAIN, WORKLOADS, Workload, client_id, own_number
from hansa.callbacks.port import Watched
from hansa.core.history import Entry


class InTurn:
    """A callback that tells how long each round took, and holds the run until the next one is asked for."""

    def __init__(self) -> None:
        self._turns = Turns()

    def started(self, run: Watched) -> None: ...

    def entry(self, run: Watched, entry: Entry) -> None:
        loss = entry.metrics.value("loss") if "loss" in entry.metrics else math.nan
        if not self._turns.over(loss):
            run.stop("enough")

    def ended(self, run: Watched) -> None: ...

    def first(self) -> None:
        """Wait for the first round to be asked for."""
        self._turns.first()


def chosen(text: str) -> Any:
    """An executor from text: "Processes(workers=2)"; None for an empty one."""
    if not text:
        return None
    from hansa.simulation import choice

    name, _, settings = text.rstrip(")").partition("(")
    pairs = (each.partition("=") for each in settings.split(",") if each)
    return getattr(choice, name)(**{key.strip(): int(value) if value.isdigit() else value for key, _, value in pairs})


def initial(framework: str, folder: Path) -> dict[str, Any]:
    """The parameters that everybody starts from."""
    given = dict(np.load(folder / "initial.npz"))
    return given if framework == "torch" else converted(given)


def examples(workload: Workload, folder: Path) -> hansa.FederatedData:
    """Everybody's: rows of the pool."""
    x, y = workloads.pool(folder)
    everything = hansa.ClientDataset({"x": x, "y": y})
    return hansa.FederatedData(
        {client_id(number): everything.select(workload.rows(number)) for number in range(workload.clients)}
    )


def main(name: str, framework: str, mode: Any, folder: str, executor: str = "") -> None:
    entry = Path(folder) / (f"{framework}.py" if name in PLAIN else f"with_{framework}.py")
    file = hansa.load_experiment(entry)
    experiment = file.experiment
    if name in PLAIN:
        data = hansa.FederatedData.generated(own_number, clients=PLAIN[name].clients)
    else:
        data = examples(WORKLOADS[name], Path(folder))
        experiment = replace(experiment, initial=initial(framework, Path(folder)))
    turns = InTurn()
    turns.first()
    federation = hansa.Federation.simulate(data, mode=mode, executor=chosen(executor))
    with file.importing():
        federation.run(experiment, callbacks=[turns], source=entry)


if __name__ == "__main__":
    main(*sys.argv[1:])
