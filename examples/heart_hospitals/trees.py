"""Four hospitals boost trees of XGBoost's: each round everyone grows one on top of the ensemble, and it takes all of them."""

from pathlib import Path

import hansa

ROUNDS = 40


def data() -> hansa.FederatedData:
    return hansa.shards_of(hansa.load_owners(Path(__file__).with_name("owners.toml")))


model = hansa.XGBoostModel(features=13, classes=2, params={"max_depth": 3, "eta": 0.3, "subsample": 0.8})
local = hansa.LocalBoosting(model)  # what is missing stays missing: a tree learns where to send it
evaluation = hansa.Evaluation(model, {"auc": hansa.auc, "accuracy": hansa.accuracy})


def algorithm(sampler: hansa.ClientSampler) -> hansa.Evaluated:
    return hansa.Evaluated(hansa.Bagging(local, ROUNDS, sampler), evaluation, every=10)


experiment = hansa.Experiment(
    model, algorithm(hansa.AllClients()), name="heart, boosted trees", requirements=("xgboost",)
)
