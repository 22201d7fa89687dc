"""The same as torch_cnn.py in JAX: the model is two plain functions."""

import network  # type: ignore[import-not-found]  # a neighbour, found when this is run
import setting  # type: ignore[import-not-found]  # as above
from setting import BATCH, COHORT, EVERY, ROUNDS

import hansa

model = hansa.JaxModel(network.make, network.apply, network.loss)
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=BATCH, epochs=1)
averaging = hansa.FedAvg(local, ROUNDS, hansa.UniformSampler(COHORT))
algorithm = hansa.Evaluated(averaging, hansa.Evaluation(model), every=EVERY)
experiment = hansa.Experiment(model, algorithm, name="emnist-jax", requirements=("jax>=0.4",))
data = setting.data

if __name__ == "__main__":
    setting.simulate(experiment)
