"""FedAvg, with every owner's own model measured too."""

import hansa

model = hansa.NumpyMLP((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
evaluation = hansa.Evaluation(model, {"accuracy": hansa.accuracy})
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=2), evaluation, owners=True)
experiment = hansa.Experiment(model, algorithm, seed=2, name="evaluated")
