"""Three rounds of a tiny network in NumPy."""

import hansa

model = hansa.NumpyMLP((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=3), seed=1, name="tiny")
