"""Ten clients in one process: `python simulation.py`. But for its import line, a program of Flower's."""

import flower_client  # type: ignore[import-not-found]  # a neighbour, found when this is run
import task  # type: ignore[import-not-found]  # as above

import hansa.interop.flower as fl


def client_fn(context: fl.common.Context) -> fl.client.Client:
    client: fl.client.NumPyClient = flower_client.DigitsClient(context.node_config["partition-id"])
    return client.to_client()


if __name__ == "__main__":
    history = fl.simulation.start_simulation(
        client_fn=client_fn,
        num_clients=task.CLIENTS,
        config=fl.server.ServerConfig(num_rounds=10),
        strategy=flower_client.strategy(task.CLIENTS),
    )
    print(history)
