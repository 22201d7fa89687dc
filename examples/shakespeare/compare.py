"""The federation's accuracy beside what needs no learning at all. Writes results.json.

HANSA_DATA=... python examples/shakespeare/compare.py 0 1 2
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import hansa

HERE = Path(__file__).parent
FILE = hansa.load_experiment(HERE / "experiment.py")


def frequent(data: hansa.FederatedData) -> dict[str, float]:
    """How often it is right to say the most frequent character, or the most frequent one after the character before."""
    after = np.zeros((128, 128))
    for role in data:
        text = data[role]["text"]
        np.add.at(after, (text[:-1], text[1:]), 1)
    always, following = after.sum(axis=0).argmax(), after.argmax(axis=1)
    # In the windows that the network is measured on, and nowhere else.
    held_out = [FILE.names["windows"](data.test[role]).all() for role in data.test]
    before, said = (np.concatenate([batch[name].ravel() for batch in held_out]) for name in ("x", "y"))
    return {"most frequent": float((said == always).mean()), "pairs": float((said == following[before]).mean())}


def compare(seeds: list[int]) -> None:
    data = FILE.data()
    baselines = {name: round(share, 4) for name, share in frequent(data).items()}
    print(len(data), "roles", baselines, flush=True)
    accuracy: dict[int, dict[int, float]] = {}
    for seed in seeds:
        history = hansa.Federation.simulate(data).run(replace(FILE.experiment, seed=seed)).history
        accuracy[seed] = {done: round(share, 4) for done, share in history.series("accuracy")}
        print(seed, accuracy[seed], flush=True)
        found = {"roles": len(data), "baselines": baselines, "accuracy by seed and round": accuracy}
        (HERE / "results.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    compare([int(seed) for seed in sys.argv[1:]] or [0])
