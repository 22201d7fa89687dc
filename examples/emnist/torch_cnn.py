"""Hundreds of writers, ten of them a round, train a convolution network in PyTorch."""

import setting  # type: ignore[import-not-found]  # a neighbour, found when this is run
from setting import BATCH, COHORT, EVERY, ROUNDS
from torch import nn

import hansa


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 12 * 12, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


model = hansa.TorchModel(network, loss=nn.functional.cross_entropy)
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=BATCH, epochs=1)
averaging = hansa.FedAvg(local, ROUNDS, hansa.UniformSampler(COHORT))
algorithm = hansa.Evaluated(averaging, hansa.Evaluation(model), every=EVERY)
experiment = hansa.Experiment(model, algorithm, name="emnist-torch", requirements=("torch>=2.4",))
data = setting.data

if __name__ == "__main__":
    setting.simulate(experiment)
