"""Flower's programs, run by Hansa: `import flwr as fl` becomes `import hansa.interop.flower as fl`, and the rest stays.

Every name lies where Flower has it: `fl.client.NumPyClient`, `fl.server.strategy.FedAvg`, `fl.simulation.start_simulation`.
What runs is Hansa: a strategy is translated to a FederatedAlgorithm (`algorithm.py`), what a client is asked to a work
(`works.py`).
`docs/flower.md` lists what differs. Nothing of Flower, Ray or a learning framework is imported.
"""

from hansa.interop.flower import app, client, clientapp, common, datasets, server, serverapp, simulation

__all__ = ["app", "client", "clientapp", "common", "datasets", "server", "serverapp", "simulation"]
