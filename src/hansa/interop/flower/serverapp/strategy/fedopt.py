"""Strategies over messages with an optimiser at the server: the steps of `flower.server.strategy`'s, on named arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hansa.interop.flower.message import Message
from hansa.interop.flower.records import ArrayRecord, ConfigRecord
from hansa.interop.flower.server.strategy import fedopt
from hansa.interop.flower.serverapp.grid import Grid
from hansa.interop.flower.serverapp.strategy.fedavg import FedAvg


class _ServerSide(FedAvg):
    """A FedAvg whose mean goes through an optimiser's step."""

    def __init__(self, optimizer: fedopt._ServerSide, settings: dict[str, Any]) -> None:
        super().__init__(**settings)
        self._optimizer = optimizer

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As FedAvg; the first round's model is what the optimiser moves."""
        if self._optimizer.current_weights is None:
            self._optimizer.current_weights = arrays.to_numpy_ndarrays()
        return super().configure_train(server_round, arrays, config, grid)

    def stepped(self, server_round: int, mean: ArrayRecord) -> ArrayRecord:
        """The optimiser's step."""
        moved = self._optimizer.stepped(server_round, mean.to_numpy_ndarrays())
        return ArrayRecord(dict(zip(mean, moved, strict=True)))


class FedAvgM(_ServerSide):
    """FedAvg with momentum at the server."""

    def __init__(self, *, server_learning_rate: float = 1.0, server_momentum: float = 0.0, **settings: Any) -> None:
        optimizer = fedopt.FedAvgM(server_learning_rate=server_learning_rate, server_momentum=server_momentum)
        super().__init__(optimizer, settings)


class FedAdagrad(_ServerSide):
    """Adagrad at the server."""

    def __init__(self, *, eta: float = 1e-1, eta_l: float = 1e-1, tau: float = 1e-3, **settings: Any) -> None:
        super().__init__(fedopt.FedAdagrad(eta=eta, eta_l=eta_l, tau=tau), settings)


class FedAdam(_ServerSide):
    """Adam at the server."""

    def __init__(
        self,
        *,
        eta: float = 1e-1,
        eta_l: float = 1e-1,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        tau: float = 1e-3,
        **settings: Any,
    ) -> None:
        super().__init__(fedopt.FedAdam(eta=eta, eta_l=eta_l, beta_1=beta_1, beta_2=beta_2, tau=tau), settings)


class FedYogi(_ServerSide):
    """Yogi at the server."""

    def __init__(
        self,
        *,
        eta: float = 1e-2,
        eta_l: float = 0.0316,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        tau: float = 1e-3,
        **settings: Any,
    ) -> None:
        super().__init__(fedopt.FedYogi(eta=eta, eta_l=eta_l, beta_1=beta_1, beta_2=beta_2, tau=tau), settings)
