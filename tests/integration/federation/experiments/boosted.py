"""Bagged trees."""

import hansa

model = hansa.XGBoostModel(features=5, classes=3, params={"max_depth": 3, "eta": 0.3})
algorithm = hansa.Evaluated(hansa.Bagging(hansa.LocalBoosting(model), rounds=2), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=1, name="boosted", requirements=("xgboost",))
