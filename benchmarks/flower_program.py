"""A program of Flower's whose clients do nothing: `python flower_program.py MODULE` prints how long each round took."""

from __future__ import annotations

import importlib
import json
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np

CLIENTS, ROUNDS = 20, 12
"""Clients in each round, and rounds, of which the first two are not counted: Flower's workers import what they need then."""


def main(module: str) -> None:
    fl: Any = importlib.import_module(module)
    simulation: Any = importlib.import_module(f"{module}.simulation")
    began: list[float] = []

    class Client(fl.client.NumPyClient):  # type: ignore[misc]  # whichever of the two it is
        def fit(self, parameters: Any, config: Any) -> Any:  # noqa: ARG002 - what Flower calls
            return parameters, 1, {}

    class Timed(fl.server.strategy.FedAvg):  # type: ignore[misc]  # as above
        def configure_fit(self, *arguments: Any, **named: Any) -> Any:
            began.append(time.perf_counter())
            return super().configure_fit(*arguments, **named)

    def client_fn(context: fl.common.Context) -> Any:  # noqa: ARG001 - as above
        return Client().to_client()

    client_fn.__annotations__["context"] = fl.common.Context
    small = [np.zeros((10, 10), np.float32), np.zeros(10, np.float32)]
    strategy = Timed(
        min_fit_clients=CLIENTS,
        min_available_clients=CLIENTS,
        fraction_evaluate=0.0,
        initial_parameters=fl.common.ndarrays_to_parameters(small),
    )
    config = fl.server.ServerConfig(num_rounds=ROUNDS)
    simulation.start_simulation(client_fn=client_fn, num_clients=CLIENTS, config=config, strategy=strategy)
    seconds = [after - before for before, after in pairwise(began)]
    print("seconds", json.dumps(seconds[2:]))


if __name__ == "__main__":
    main(sys.argv[1])
