"""The federation against each site alone, which takes as many steps in total. Writes results.json and predictions.png.

NUCLEI=$PWD/sites python examples/nuclei_unet/compare.py 0 1 2
"""

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import hansa
from hansa import plots

HERE = Path(__file__).parent
FILE = hansa.load_experiment(HERE / "experiment.py")
SITES = ("wells", "plates", "fields", "stained", "brightfield")


def dice(federation: Any, seed: int, algorithm: Any) -> tuple[dict[str, float], hansa.Tree]:
    """The last model's Dice score at each site and over all pixels of all sites, and the model."""
    history = federation.run(replace(FILE.experiment, algorithm=algorithm, seed=seed)).history
    last = list(history.evaluations())[-1]
    sites = {site: round(last.outcomes[site].metrics.value("dice"), 4) for site in SITES}
    print(seed, sites, round(last.metrics.value("dice"), 4), flush=True)
    return {**sites, "pooled": round(last.metrics.value("dice"), 4)}, history.model


def alone(site: str) -> hansa.Evaluated:
    """One long visit, without the optimiser's new beginning at every round."""
    local = replace(FILE.names["local"], steps=FILE.names["ROUNDS"] * FILE.names["STEPS"])
    single = hansa.FedAvg(local, rounds=1, sampler=hansa.FixedClients([site]))
    return hansa.Evaluated(single, FILE.names["evaluation"], rounds={1})


def picture(data: hansa.FederatedData, model: hansa.Tree) -> None:
    """Three held-out images of each site, with what the model found."""
    shown = [data.test[site].take(3).all() for site in SITES]
    x, y = (np.concatenate([batch[name] for batch in shown]) for name in ("x", "y"))
    logits = FILE.names["model"].predict(FILE.names["model"].load(model), {"x": x, "y": y}).outputs
    plots.predictions(x, y, logits > 0, columns=3).savefig(HERE / "predictions.png", dpi=110)


def compare(seeds: list[int]) -> None:
    data = FILE.data()
    federation = hansa.Federation.simulate(data)
    found: dict[str, list[dict[str, float]]] = {"federated": [], **{site: [] for site in SITES}}
    for seed in seeds:
        scores, model = dice(federation, seed, FILE.experiment.algorithm)
        found["federated"].append(scores)
        if seed == seeds[0]:
            picture(data, model)
        for site in SITES:
            found[site].append(dice(federation, seed, alone(site))[0])
        (HERE / "results.json").write_text(json.dumps({"seeds": seeds, "dice": found}, indent=1) + "\n")
    for model_of, runs in found.items():
        print(model_of, {where: statistics.median(run[where] for run in runs) for where in runs[0]})


if __name__ == "__main__":
    compare([int(seed) for seed in sys.argv[1:]] or [0])
