"""What Flower's `flwr.server.strategy` has."""

from hansa.interop.flower.server.strategy.fedavg import FedAvg, FedProx
from hansa.interop.flower.server.strategy.fedopt import FedAdagrad, FedAdam, FedAvgM, FedOpt, FedYogi
from hansa.interop.flower.server.strategy.strategy import Strategy

__all__ = ["FedAdagrad", "FedAdam", "FedAvg", "FedAvgM", "FedOpt", "FedProx", "FedYogi", "Strategy"]
