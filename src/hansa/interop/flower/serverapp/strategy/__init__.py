"""What Flower's `flwr.serverapp.strategy` has: strategies over messages."""

from hansa.interop.flower.serverapp.strategy.fedavg import FedAvg, FedProx
from hansa.interop.flower.serverapp.strategy.fedopt import FedAdagrad, FedAdam, FedAvgM, FedYogi
from hansa.interop.flower.serverapp.strategy.result import Result
from hansa.interop.flower.serverapp.strategy.strategy import Strategy

__all__ = ["FedAdagrad", "FedAdam", "FedAvg", "FedAvgM", "FedProx", "FedYogi", "Result", "Strategy"]
