"""Alice, Bob and Charlie each hold a few digits only, and learn all ten."""

import os
from pathlib import Path

from torch import nn

import hansa

ROUNDS, EVERY = 40, 10


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * 4 * 4, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )


model = hansa.TorchModel(network, loss=nn.functional.cross_entropy)
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=32, steps=10, schedule=hansa.ExponentialDecay(0.98))
averaging = hansa.FedAvg(local, ROUNDS, weighted=False)
evaluation = hansa.Evaluation(model, {"accuracy": hansa.accuracy, "confusion": hansa.confusion_matrix})
# owners=True also measures each owner's own model, as it is before it is averaged.
algorithm = hansa.Evaluated(averaging, evaluation, rounds=[1, *range(EVERY, ROUNDS + 1, EVERY)], owners=True)
experiment = hansa.Experiment(model, algorithm, seed=0, name="alice-bob-charlie", requirements=("torch>=2.4",))


def data() -> hansa.FederatedData:
    """For `hansa run experiment.py` without --owners: MNIST where somebody says where it lies, else the small digits."""
    owners = "mnist.toml" if "HANSA_DATA" in os.environ else "owners.toml"
    return hansa.shards_of(hansa.load_owners(Path(__file__).with_name(owners)))
