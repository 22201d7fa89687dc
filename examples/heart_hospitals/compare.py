"""The federation against each hospital alone, and against all records in one place. Writes results.json.

HANSA_DATA=... python examples/heart_hospitals/compare.py 0 1 2 3 4
"""

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import hansa

HERE = Path(__file__).parent
OWNERS = hansa.load_owners(HERE / "owners.toml")
HOSPITALS = [owner.name for owner in OWNERS]


def areas(data: hansa.FederatedData, experiment: hansa.Experiment) -> dict[str, float]:
    """The last model's area under the ROC curve at each hospital, and over the patients of all of them."""
    history = hansa.Federation.simulate(data).run(experiment).history
    last = list(history.evaluations())[-1]
    of_each = {hospital: last.outcomes[hospital].metrics for hospital in HOSPITALS}
    return {where: round(found.value("auc"), 4) for where, found in (of_each | {"all": last.metrics}).items()}


def one_table(data: hansa.FederatedData) -> hansa.FederatedData:
    """What nobody may do: the hospitals' training data in one place."""
    tables = [data[hospital].all() for hospital in HOSPITALS]
    pooled = hansa.ClientDataset({name: np.concatenate([table[name] for table in tables]) for name in ("x", "y")})
    return hansa.FederatedData({"pooled": pooled}, data.test, schema=data.schema)


def compare(file: str, seed: int) -> dict[str, dict[str, float]]:
    """All models of one split of the patients."""
    loaded: Any = hansa.load_experiment(HERE / file)
    experiment, algorithm = replace(loaded.experiment, seed=seed), loaded.names["algorithm"]
    data = hansa.shards_of([replace(owner, parameters={**owner.parameters, "seed": seed}) for owner in OWNERS])
    alone = {
        hospital: areas(data, replace(experiment, algorithm=algorithm(hansa.FixedClients([hospital]))))
        for hospital in HOSPITALS
    }
    return {"federated": areas(data, experiment), "one table": areas(one_table(data), experiment), **alone}


def main(seeds: list[int]) -> None:
    results = {}
    for file in ("logistic.py", "trees.py"):
        runs = [compare(file, seed) for seed in seeds]
        median = {
            model: {where: round(statistics.median(run[model][where] for run in runs), 3) for where in areas}
            for model, areas in runs[0].items()
        }
        results[file] = {"median": median, "runs": runs}
        for model, areas_of in median.items():
            print(file, model.ljust(12), areas_of, flush=True)
    (HERE / "results.json").write_text(json.dumps({"seeds": seeds, "auc": results}, indent=1) + "\n")


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0])
