"""One workload in PyTorch, as its user writes it; what stands below is the table's row."""

from networks_torch import NETWORKS, loss  # type: ignore[import-not-found]  # its neighbour: an experiment file is no package

import hansa

NETWORK, OPTIMIZER, BATCH, COHORT, ROUNDS, SEED = "cnn", hansa.SGD(0.1), 20, 10, 5, 0

model = hansa.TorchModel(NETWORKS[NETWORK], loss(NETWORK))
local = hansa.LocalTraining(model, OPTIMIZER, batch_size=BATCH, epochs=1)
algorithm = hansa.FedAvg(local, rounds=ROUNDS, sampler=hansa.UniformSampler(COHORT))
experiment = hansa.Experiment(model, algorithm, seed=SEED)
