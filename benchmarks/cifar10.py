"""`python -m benchmarks.cifar10 --flower PYTHON`: the accuracy of examples/cifar10, in Hansa and in Flower.

PYTHON is an interpreter with `flwr[simulation]`, PyTorch and NumPy, in an environment of its own. Both begin with the same
parameters and hold the same pictures; the accuracy is that of the global model on the whole test set. HANSA_DATA names the
folder of data sets.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import hansa
from hansa.data.owners import load_owners, shards_of
from hansa.experiment.files import ExperimentFile

EXAMPLE = Path(__file__).parents[1] / "examples" / "cifar10"
PROGRAM = Path(__file__).with_name("cifar10_flower.py")
SEEDS = (0, 1, 2, 3, 4)
BAR = 0.01
"""How far the two medians may lie apart."""


@dataclass(frozen=True)
class Accuracies:
    """Of one run: on the whole test set and, by half of the owners, on what they held out; after the last round."""

    test: float
    held_out: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cifar10", description=__doc__)
    parser.add_argument("--flower", required=True, metavar="PYTHON", help="the interpreter that has Flower")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="0 to 4 unless given")
    arguments = parser.parse_args()
    example = hansa.load_experiment(EXAMPLE / "experiment.py")
    with example.importing():
        data, test = shards_of(load_owners(EXAMPLE / "owners.toml")), whole_test_set()
    seeds: Sequence[int] = arguments.seeds
    ours, theirs = [], []
    print("| seed | Hansa, test set | Flower, test set | Hansa, held out | Flower, held out |")
    print("|---|---|---|---|---|")
    for seed in seeds:
        experiment = replace(example.experiment, seed=seed)
        theirs.append(in_flower(arguments.flower, experiment, example, data, test))
        ours.append(in_hansa(experiment, data, test))
        row = ours[-1].test, theirs[-1].test, ours[-1].held_out, theirs[-1].held_out
        print(f"| {seed} | {' | '.join(f'{each:.2%}' for each in row)} |", flush=True)
    medians = [statistics.median(each.test for each in runs) for runs in (ours, theirs)]
    apart = medians[0] - medians[1]
    print(f"\nmedians {medians[0]:.2%} and {medians[1]:.2%}, {100 * apart:+.2f} percentage points apart")
    print(f"bar {100 * BAR:g}: {'reached' if abs(apart) <= BAR else 'MISSED'}")
    if arguments.json:
        figures = {
            name: {seed: [round(each.test, 4), round(each.held_out, 4)] for seed, each in zip(seeds, runs, strict=True)}
            for name, runs in (("hansa", ours), ("flower", theirs))
        }
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if abs(apart) <= BAR else 1)


def whole_test_set() -> hansa.ClientDataset:
    import shards  # type: ignore[import-not-found]  # the example's, beside its experiment file

    examples: hansa.ClientDataset = shards.Stored(os.environ["HANSA_DATA"], "test").pictures()
    return examples


def in_hansa(experiment: hansa.Experiment, data: hansa.FederatedData, test: hansa.ClientDataset) -> Accuracies:
    history = hansa.Federation.simulate(data).run(experiment).history
    context = hansa.ClientContext("test set", {"test": test})
    measured = hansa.Evaluation(experiment.model)(history.model, context).metrics
    return Accuracies(measured.value("accuracy"), history.final("accuracy"))


def in_flower(
    python: str,
    experiment: hansa.Experiment,
    example: ExperimentFile,
    data: hansa.FederatedData,
    test: hansa.ClientDataset,
) -> Accuracies:
    """The same in Flower's own simulation, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="hansa-cifar10-") as folder:
        file = Path(folder) / "arrays.npz"
        np.savez(file, **arrays(experiment, example, data, test))
        command = [python, str(PROGRAM), str(file), str(experiment.seed)]
        environment = {**os.environ, "RAY_worker_niceness": "0"}  # or on a busy machine it gets nothing done
        ended = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    said = [line.removeprefix("accuracies ") for line in ended.stdout.splitlines() if line.startswith("accuracies ")]
    if not said:
        raise SystemExit(f"{python} could not run the program:\n{ended.stderr[-2000:]}")
    found = json.loads(said[0])
    return Accuracies(found["test"][-1], found["held out"][-1])


def arrays(
    experiment: hansa.Experiment, example: ExperimentFile, data: hansa.FederatedData, test: hansa.ClientDataset
) -> dict[str, Any]:
    """All that a run starts from, by name; pictures as they are stored, before they are scaled."""
    loader = example.names["loader"]
    found: dict[str, Any] = {"owners": len(data), "rounds": experiment.rounds, "test/x": test["x"], "test/y": test["y"]}
    found |= {f"initial/{name}": leaf for name, leaf in experiment.start().items()}
    for number, client in enumerate(data):
        splits = loader({"train": data[client]}, {**experiment.settings, "seed": 0})
        for name, split in zip(("train", "valid"), splits, strict=True):
            found |= {f"{number}/{name}/x": split["x"], f"{number}/{name}/y": split["y"]}
    return found


if __name__ == "__main__":
    main()
