"""Federated algorithms: one paper a file. A new one is a new file; nothing else needs to know of it."""

from hansa.algorithms.evaluated import Evaluated, EvaluatedState
from hansa.algorithms.fedavg import FedAvg, FedAvgState, fedadagrad, fedadam, fedavgm, fedyogi
from hansa.algorithms.fedprox import FedProx
from hansa.algorithms.server import server_init, server_step

__all__ = [
    "Evaluated",
    "EvaluatedState",
    "FedAvg",
    "FedAvgState",
    "FedProx",
    "fedadagrad",
    "fedadam",
    "fedavgm",
    "fedyogi",
    "server_init",
    "server_step",
]
