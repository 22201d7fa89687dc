"""Hundreds of writers, of whom twenty at a time train a network that reads digits."""

from pathlib import Path

from torch import nn

import hansa

ROUNDS, EVERY, COHORT = 50, 5, 20


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


model = hansa.TorchModel(network, loss=nn.functional.cross_entropy)
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=10, epochs=1)
averaging = hansa.FedAvg(local, ROUNDS, sampler=hansa.UniformSampler(COHORT))
algorithm = hansa.Evaluated(averaging, hansa.Evaluation(model), every=EVERY)
experiment = hansa.Experiment(model, algorithm, seed=0, name="writers", requirements=("torch>=2.4",))


def data() -> hansa.FederatedData:
    return hansa.shards_of(hansa.load_owners(Path(__file__).with_name("owners.toml")))
