"""The client class, and the settings of the strategy; the simulation and the processes share them."""

from typing import Any

import task  # type: ignore[import-not-found]  # a neighbour, found when this is run

import hansa.interop.flower as fl

Config = dict[str, Any]


class DigitsClient(fl.client.NumPyClient):
    def __init__(self, partition_id: int) -> None:
        self.train_data, self.test_data = task.load(partition_id)

    def get_parameters(self, config: Config) -> Any:  # noqa: ARG002 - what Flower calls
        return task.init()

    def fit(self, parameters: Any, config: Config) -> tuple[Any, int, Config]:
        trained = task.train(parameters, *self.train_data, lr=config["lr"], epochs=5)
        return trained, len(self.train_data[1]), {}

    def evaluate(self, parameters: Any, config: Config) -> tuple[float, int, Config]:  # noqa: ARG002 - as above
        loss, accuracy = task.test(parameters, *self.test_data)
        return loss, len(self.test_data[1]), {"accuracy": accuracy}


def weighted_average(metrics: list[tuple[int, Config]]) -> Config:
    examples = sum(n for n, _ in metrics)
    return {"accuracy": sum(n * m["accuracy"] for n, m in metrics) / examples}


def fit_config(server_round: int) -> Config:
    return {"lr": 0.5 if server_round < 5 else 0.2}


def strategy(clients: int) -> fl.server.strategy.FedAvg:
    return fl.server.strategy.FedAvg(
        min_fit_clients=clients,
        min_evaluate_clients=clients,
        min_available_clients=clients,
        on_fit_config_fn=fit_config,
        evaluate_metrics_aggregation_fn=weighted_average,
    )
