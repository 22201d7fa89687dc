"""FedProx."""

import hansa

model = hansa.NumpyMLP((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
experiment = hansa.Experiment(model, hansa.FedProx(local, rounds=2, mu=0.5), seed=4, name="proximal")
