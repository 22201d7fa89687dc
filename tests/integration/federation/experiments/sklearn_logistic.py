"""Standardised logistic regression, by scikit-learn's own steps."""

from sklearn.linear_model import SGDClassifier

import hansa

model = hansa.SklearnModel(SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05), features=5, classes=3)
local = hansa.SklearnTraining(model, epochs=1)
algorithm = hansa.Standardised(hansa.Evaluated(hansa.FedAvg(local, rounds=2), hansa.Evaluation(model)))
experiment = hansa.Experiment(model, algorithm, seed=1, name="sklearn", requirements=("scikit-learn",))
