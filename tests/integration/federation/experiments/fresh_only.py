"""FedBuff that refuses whoever is behind at all: with three at work and two to a round, every other round refuses one."""

import hansa
from hansa.algorithms.fedbuff import FedBuff

model = hansa.NumpyMLP((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
algorithm = FedBuff(local, rounds=8, goal=2, concurrency=3, max_staleness=0)
experiment = hansa.Experiment(model, algorithm, seed=1)
