"""One workload in plain JAX, as its user writes it; what stands below is the table's row."""

from networks_jax import APPLY, losses, maker  # type: ignore[import-not-found]  # its neighbour, as in with_torch

import hansa

NETWORK, OPTIMIZER, BATCH, COHORT, ROUNDS, SEED = "cnn", hansa.SGD(0.1), 20, 10, 5, 0

model = hansa.JaxModel(maker(NETWORK), APPLY[NETWORK], losses)
local = hansa.LocalTraining(model, OPTIMIZER, batch_size=BATCH, epochs=1)
algorithm = hansa.FedAvg(local, rounds=ROUNDS, sampler=hansa.UniformSampler(COHORT))
experiment = hansa.Experiment(model, algorithm, seed=SEED)
