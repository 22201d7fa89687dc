"""Flower, as its users write it: `python -m benchmarks.simulation.peers.flower NAME FOLDER` is a contestant.

Its Ray simulation with two actors of one core each. A client is told by its configuration whose examples it trains on, so that
the cohorts are everybody's.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulation import workloads
from benchmarks.simulation.contestant import Turns
from benchmarks.simulation.workloads import PLAIN, WORKLOADS, Workload

Arrays = list[np.ndarray[Any, Any]]


class Trainer:
    """One client's training; an actor keeps one of them."""

    def __init__(self, workload: Workload, folder: Path) -> None:
        import torch

        from benchmarks.simulation.given.networks_torch import NETWORKS, loss

        torch.set_num_threads(1)
        self._torch, self._workload = torch, workload
        self._module, self._losses = NETWORKS[workload.network](), loss(workload.network)
        self._x, self._y = (torch.from_numpy(each) for each in workloads.pool(folder))

    def fit(self, parameters: Arrays, client: int) -> tuple[Arrays, int]:
        """The new parameters, and the number of examples."""
        torch, workload = self._torch, self._workload
        with torch.no_grad():
            for parameter, given in zip(self._module.parameters(), parameters, strict=True):
                parameter.copy_(torch.from_numpy(given.copy()))
        kind = torch.optim.Adam if workload.adam else torch.optim.SGD
        optimizer = kind(self._module.parameters(), lr=workload.rate)
        rows = workload.rows(client)
        for batch in torch.from_numpy(np.random.default_rng().permutation(rows)).split(workload.batch):
            optimizer.zero_grad()
            torch.autograd.backward(self._losses(self._module(self._x[batch]), self._y[batch]))
            optimizer.step()
        return [parameter.detach().numpy() for parameter in self._module.parameters()], len(rows)


class Adder:
    """A client that adds one."""

    def fit(self, parameters: Arrays, client: int) -> tuple[Arrays, int]:
        return [each + 1 for each in parameters], len(workloads.own_number(client)["x"])


@functools.cache
def work(name: str, folder: str) -> Any:
    """What an actor keeps from client to client."""
    return Adder() if name in PLAIN else Trainer(WORKLOADS[name], Path(folder))


def main(name: str, folder: str) -> None:
    fl: Any = importlib.import_module("flwr")
    simulation: Any = importlib.import_module("flwr.simulation")
    workload = PLAIN[name] if name in PLAIN else WORKLOADS[name]
    initial = list(PLAIN[name].model().values() if name in PLAIN else np.load(Path(folder) / "initial.npz").values())
    turns = Turns()

    class Client(fl.client.NumPyClient):  # type: ignore[misc]  # its types are not installed here
        def fit(self, parameters: Arrays, config: dict[str, Any]) -> tuple[Arrays, int, dict[str, Any]]:
            trained, examples = (
                importlib.import_module("benchmarks.simulation.peers.flower")
                .work(name, folder)
                .fit(parameters, config["client"])
            )
            return trained, examples, {}

    class Gated(fl.server.strategy.FedAvg):  # type: ignore[misc]  # as above
        begun = False

        def configure_fit(self, *arguments: Any, **named: Any) -> Any:
            if self.begun and not turns.over(math.nan):
                os._exit(0)  # it has no way to end between two rounds
            self.begun = True
            asked = super().configure_fit(*arguments, **named)
            pairs = zip(asked, turns.asked["cohort"], strict=True)
            return [(proxy, fl.common.FitIns(each.parameters, {"client": client})) for (proxy, each), client in pairs]

    def client_fn(context: fl.common.Context) -> Any:  # noqa: ARG001 - what Flower calls
        return Client().to_client()

    client_fn.__annotations__["context"] = fl.common.Context
    strategy = Gated(
        fraction_fit=workload.cohort / workload.clients,
        min_fit_clients=workload.cohort,
        min_available_clients=workload.clients,
        fraction_evaluate=0.0,
        initial_parameters=fl.common.ndarrays_to_parameters(initial),
    )
    turns.first()
    simulation.start_simulation(
        client_fn=client_fn,
        num_clients=workload.clients,
        config=fl.server.ServerConfig(num_rounds=1_000),
        strategy=strategy,
        client_resources={"num_cpus": 1},
        ray_init_args={"num_cpus": 2, "include_dashboard": False},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
