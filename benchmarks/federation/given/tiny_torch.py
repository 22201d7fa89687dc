"""Three rounds of a tiny layer in PyTorch."""

import torch

import hansa

model = hansa.TorchModel(lambda: torch.nn.Linear(5, 3), torch.nn.functional.cross_entropy)
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=3), seed=1, name="tiny-torch")
