"""FedAvg of a PyTorch module with dropout and BatchNorm."""

import torch.nn.functional as F
from torch import nn

import hansa


def network() -> nn.Module:
    """Everything that could differ: dropout draws, statistics are averaged."""
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


model = hansa.TorchModel(network, F.cross_entropy)
local = hansa.LocalTraining(model, hansa.Adam(0.01), batch_size=8, steps=5)
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=2), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=1, name="torch", requirements=("torch",))
