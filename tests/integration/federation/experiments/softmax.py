"""FedAvg of a softmax regression, measured every round: what a client in another language computes too."""

import hansa

model = hansa.NumpyMLP((5, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
evaluation = hansa.Evaluation(model, {"accuracy": hansa.accuracy})
experiment = hansa.Experiment(model, hansa.Evaluated(hansa.FedAvg(local, rounds=3), evaluation), seed=7, name="softmax")
