"""Wall-clock to accuracy on real processes: ten Envoys that take a second a visit, one of them ten, and one that tests.

A Director, eleven Envoys and their children on this machine, mutual TLS on loopback. The time is from `submit` until the run is
over, which is when the model is good.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hansa
from benchmarks.federation.ground import Submission
from hansa.core.ask import Status
from hansa.data.owners import Owner
from hansa.runtime.local import LocalFederation
from hansa.runtime.user import User

GIVEN = Path(__file__).parent / "given"
WAITING, BUFFERED = "FedAvg, all ten", "FedBuff, K = 5 of 10"
TRAINERS, BAR = 10, 1 / 3


def run() -> list[dict[str, Any]]:
    """A row for each way, the synchronous one first."""
    with tempfile.TemporaryDirectory(prefix="hansa-bench-") as name:
        folder = Path(name)
        with LocalFederation(folder / "federation", owners(folder)) as made:
            made.create()
            made.up()
            with made.user() as user:
                rows = [measured(user, way, folder, tuple(made.owners)) for way in (WAITING, BUFFERED)]
    ratio = rows[1]["s"] / rows[0]["s"]
    rows[0] |= {"ratio": 1.0, "bar": "", "reached": ""}
    rows[1] |= {"ratio": round(ratio, 3), "bar": f"≤ {BAR:.2f}", "reached": "yes" if ratio <= BAR else "no"}
    return rows


def owners(folder: Path) -> Sequence[Owner]:
    """Ten who train on shares drawn from Dirichlet(0.5), and one who holds the test set; each has a file of its own."""
    mnist = hansa.load_dataset("mnist")
    train, test = (hansa.ClientDataset(examples.all()) for examples in (mnist.train, mnist.test))
    data = hansa.FederatedData.partition(train, hansa.Dirichlet(TRAINERS, 0.5, min_examples=320), seed=0)
    parts = {f"owner-{client}": ("train", data[client]) for client in data} | {"tester": ("test", test)}
    found = []
    for name, (split, examples) in parts.items():
        np.savez(folder / f"{name}.npz", x=examples["x"], y=examples["y"])
        found.append(Owner(name, "part:Part", {"file": str(folder / f"{name}.npz"), "split": split}, GIVEN))
    return found


def measured(user: User, name: str, folder: Path, envoys: tuple[str, ...]) -> dict[str, Any]:
    """Run one of the two to its end. Raises RuntimeError where it did not finish."""
    entry = folder / "paced.py"
    entry.write_text((GIVEN / "paced.py").read_text().replace("BUFFERED = True", f"BUFFERED = {name == BUFFERED}"))
    submission = Submission.of(entry, folder, envoys)
    began, last = time.perf_counter(), dict[str, Any]()
    run = user.submit(submission.package, submission.initial)
    for report in user.follow(run):
        last = report.get("run", last)
    took = time.perf_counter() - began
    if last["phase"] != "finished":
        raise RuntimeError(f"the run {last['phase']}: {last['why']}")
    history = user.history(run)
    counted = [
        each
        for entry in history.entries
        if entry.model is None
        for each in entry.outcomes.values()
        if each.status is Status.UPDATED
    ]
    return {
        "name": name,
        "s": round(took, 1),
        "accuracy": round(history.final("accuracy"), 4),
        "rounds": history.rounds,
        "updates": len(counted),
        "largest staleness": max(each.staleness for each in counted),
    }
