"""A server optimiser that has a state, and a part of the clients in each round."""

import hansa

model = hansa.NumpyMLP((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
algorithm = hansa.FedAvg(local, rounds=3, server=hansa.fedadam(), sampler=hansa.UniformSampler(2))
experiment = hansa.Experiment(model, algorithm, seed=3, name="adaptive")
