"""CIFAR-10 in Flower, run by an interpreter that has it: `python cifar10_flower.py ARRAYS.npz SEED` prints the accuracies.

Everything that Hansa's run starts from comes from the arrays: the owners' pictures, the test set and the initial parameters.
What is Flower's own is the order of each client's batches, and how everything is carried out.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

RATE, BATCH = 1e-3, 32


def network() -> nn.Module:
    """As examples/cifar10/experiment.py has it, whose module cannot be imported here: it needs Hansa."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def pictures(file: str, name: str) -> TensorDataset:
    """One set of pictures, from -1 to 1, and their labels."""
    with np.load(file) as arrays:
        x, y = arrays[f"{name}/x"], arrays[f"{name}/y"]
    return TensorDataset(torch.from_numpy(x).float() / 127.5 - 1, torch.from_numpy(y))


def trained(parameters: list[Any], examples: TensorDataset, seed: int) -> list[Any]:
    torch.manual_seed(seed)
    model = loaded(parameters)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for x, y in DataLoader(examples, batch_size=BATCH, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        optimizer.step()
    return [leaf.numpy() for leaf in model.state_dict().values()]


def measured(parameters: list[Any], examples: TensorDataset) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model, loss, hits = loaded(parameters), 0.0, 0
    with torch.no_grad():
        for x, y in DataLoader(examples, batch_size=256):
            outputs = model(x)
            loss += F.cross_entropy(outputs, y, reduction="sum").item()
            hits += int((outputs.argmax(dim=1) == y).sum())
    return loss / len(examples), hits / len(examples)


def loaded(parameters: list[Any]) -> nn.Module:
    torch.set_num_threads(1)
    model = network()
    model.load_state_dict({name: torch.tensor(leaf) for name, leaf in zip(model.state_dict(), parameters, strict=True)})
    return model


def main(file: str, seed: int) -> None:
    fl: Any = importlib.import_module("flwr")
    simulation: Any = importlib.import_module("flwr.simulation")
    with np.load(file) as arrays:
        owners, rounds = int(arrays["owners"]), int(arrays["rounds"])
        initial = [arrays[f"initial/{name}"] for name in network().state_dict()]
    on_test_set: list[float] = []

    class Owner(fl.client.NumPyClient):  # type: ignore[misc]  # Flower is not installed where the types are checked
        def __init__(self, number: int) -> None:
            self.number = number

        def fit(self, parameters: Any, config: Any) -> Any:
            examples = pictures(file, f"{self.number}/train")
            visit = (seed * rounds + config["round"]) * owners + self.number
            return trained(parameters, examples, visit), len(examples), {}

        def evaluate(self, parameters: Any, config: Any) -> Any:  # noqa: ARG002 - what Flower calls
            examples = pictures(file, f"{self.number}/valid")
            loss, accuracy = measured(parameters, examples)
            return loss, len(examples), {"accuracy": accuracy}

    def client_fn(context: Any) -> Any:
        return Owner(int(context.node_config["partition-id"])).to_client()

    def evaluate_fn(server_round: int, parameters: Any, config: Any) -> Any:  # noqa: ARG001 - as above
        loss, accuracy = measured(parameters, pictures(file, "test"))
        on_test_set.append(accuracy)
        return loss, {}

    def weighted_average(metrics: Any) -> Any:
        return {"accuracy": sum(n * m["accuracy"] for n, m in metrics) / sum(n for n, _ in metrics)}

    def fit_config(server_round: int) -> dict[str, int]:
        return {"round": server_round}

    client_fn.__annotations__["context"] = fl.common.Context
    history = simulation.start_simulation(
        client_fn=client_fn,
        num_clients=owners,
        config=fl.server.ServerConfig(num_rounds=rounds),
        client_resources={"num_cpus": 1},
        strategy=fl.server.strategy.FedAvg(
            fraction_fit=1.0,
            fraction_evaluate=0.5,
            min_fit_clients=owners,
            min_available_clients=owners,
            initial_parameters=fl.common.ndarrays_to_parameters(initial),
            on_fit_config_fn=fit_config,
            evaluate_fn=evaluate_fn,
            evaluate_metrics_aggregation_fn=weighted_average,
        ),
    )
    on_held_out = [accuracy for _, accuracy in history.metrics_distributed["accuracy"]]
    print("accuracies", json.dumps({"test": on_test_set, "held out": on_held_out}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
