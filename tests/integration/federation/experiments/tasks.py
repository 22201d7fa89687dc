"""Tasks of a scientist's own, whose optimisers are federated; validation before and after in the same visit."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import hansa
from hansa.training.tasks.task import task
from hansa.training.tasks.work import Tasks

model = hansa.TorchModel(lambda: nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.2), nn.Linear(8, 3)), F.cross_entropy)


@task(train=True)
def train(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any, *, epochs: int = 1) -> dict[str, float]:
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
            optimizer.step()
    return {"loss": loss.item()}


@task
def validate(model: nn.Module, loader: Any) -> dict[str, float]:
    with torch.no_grad():
        hits = sum((model(x).argmax(dim=1) == y).sum().item() for x, y in loader)
    return {"accuracy": hits / len(loader.dataset)}


def adam(model: nn.Module, *, lr: float = 0.01) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr)


local = Tasks(
    model,
    validate,
    train,
    ("validate_local", validate),
    optimizer=adam,
    optimizer_state="federate",
    batch_size=8,
    settings={"epochs": 2},
)
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=2), seed=1, name="tasks")
