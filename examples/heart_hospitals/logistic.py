"""Four hospitals fit a logistic regression of scikit-learn's, on data standardised by their common statistics."""

from pathlib import Path

from sklearn.linear_model import SGDClassifier

import hansa

ROUNDS = 20


def data() -> hansa.FederatedData:
    return hansa.shards_of(hansa.load_owners(Path(__file__).with_name("owners.toml")))


model = hansa.SklearnModel(SGDClassifier(loss="log_loss", alpha=0.01), features=13, classes=2)
local = hansa.SklearnTraining(model, epochs=1)  # scikit-learn's own partial_fit
evaluation = hansa.Evaluation(model, {"auc": hansa.auc, "accuracy": hansa.accuracy})


def algorithm(sampler: hansa.ClientSampler) -> hansa.Standardised:
    training = hansa.Evaluated(hansa.FedAvg(local, ROUNDS, sampler), evaluation, every=5)
    return hansa.Standardised(training, hansa.FederatedStatistics(extremes=False, sampler=sampler))


experiment = hansa.Experiment(
    model, algorithm(hansa.AllClients()), requirements=("scikit-learn",), name="heart, logistic regression"
)
