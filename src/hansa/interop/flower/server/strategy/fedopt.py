"""Strategies with an optimiser at the server, with the settings and the arithmetic of Flower's.

T.-M. H. Hsu et al., Measuring the Effects of Non-Identical Data Distribution, 2019 (FedAvgM).
S. Reddi et al., Adaptive Federated Optimization, ICLR 2021, Algorithm 2 (FedAdagrad, FedAdam, FedYogi).

Flower's differ from the paper in two places, and so do these: v starts from 0 instead of τ², and FedAdam corrects its bias with
the exponent t + 1. `hansa.fedadam` and its like are the paper's.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from hansa.core.tree import Array
from hansa.interop.flower.common.typing import FitIns
from hansa.interop.flower.parameters import NDArrays, Parameters, parameters_to_ndarrays
from hansa.interop.flower.server.client_manager import ClientManager
from hansa.interop.flower.server.client_proxy import ClientProxy
from hansa.interop.flower.server.strategy.fedavg import FedAvg


class _ServerSide(FedAvg):
    """A strategy that moves the present parameters x by the mean's Δ = mean − x."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        initial = self.initial_parameters
        self.current_weights: NDArrays | None = None if initial is None else parameters_to_ndarrays(initial)

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """As FedAvg; where no initial parameters were given, the first round's are the present ones."""
        if self.current_weights is None:
            self.current_weights = parameters_to_ndarrays(parameters)
        return super().configure_fit(server_round, parameters, client_manager)

    def stepped(self, server_round: int, mean: NDArrays) -> NDArrays:
        """The optimiser's step."""
        before = mean if self.current_weights is None else self.current_weights
        delta = [m - x for m, x in zip(mean, before, strict=True)]
        moves = self.moves(server_round, delta)
        moved = [(x + move).astype(x.dtype) for x, move in zip(before, moves, strict=True)]
        self.current_weights = moved
        return moved

    @abstractmethod
    def moves(self, server_round: int, delta: list[Array]) -> list[Array]:
        """What is added to each array."""


class FedAvgM(_ServerSide):
    """FedAvg with momentum at the server: b ← momentum·b + Δ; x ← x + learning rate·b.

    Args:
        server_learning_rate: the learning rate.
        server_momentum: 0 for none.
        settings: those of `FedAvg`.
    """

    def __init__(self, *, server_learning_rate: float = 1.0, server_momentum: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.server_learning_rate, self.server_momentum = server_learning_rate, server_momentum
        self.momentum_vector: NDArrays | None = None

    def moves(self, server_round: int, delta: list[Array]) -> list[Array]:  # noqa: ARG002 - the port's signature
        """Learning rate times the momentum."""
        before = self.momentum_vector or [np.zeros_like(d) for d in delta]
        self.momentum_vector = [self.server_momentum * b + d for b, d in zip(before, delta, strict=True)]
        return [self.server_learning_rate * b for b in self.momentum_vector]


class FedOpt(_ServerSide):
    """What the adaptive strategies have in common: m ← β₁·m + (1 − β₁)·Δ; x ← x + η·m / (√v + τ).

    Args:
        eta: η, the server's learning rate.
        eta_l: the clients' learning rate; only kept.
        beta_1: β₁.
        beta_2: β₂.
        tau: τ.
        settings: those of `FedAvg`.
    """

    def __init__(
        self,
        *,
        eta: float = 1e-1,
        eta_l: float = 1e-1,
        beta_1: float = 0.0,
        beta_2: float = 0.0,
        tau: float = 1e-9,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.eta, self.eta_l, self.tau = eta, eta_l, tau
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.m_t: NDArrays | None = None
        self.v_t: NDArrays | None = None

    def moves(self, server_round: int, delta: list[Array]) -> list[Array]:
        """The step of the family."""
        m, v = (before or [np.zeros_like(d) for d in delta] for before in (self.m_t, self.v_t))
        self.m_t = [self.beta_1 * each + (1 - self.beta_1) * d for each, d in zip(m, delta, strict=True)]
        self.v_t = [self.second_moment(each, d * d) for each, d in zip(v, delta, strict=True)]
        rate = self.rate(server_round)
        return [rate * m / (np.sqrt(v) + self.tau) for m, v in zip(self.m_t, self.v_t, strict=True)]

    @abstractmethod
    def second_moment(self, v: Array, square: Array) -> Array:
        """The next v, of Δ²."""

    def rate(self, server_round: int) -> float:  # noqa: ARG002 - FedAdam's depends on it
        """The learning rate of a round."""
        return self.eta


class FedAdagrad(FedOpt):
    """v ← v + Δ²."""

    def __init__(self, *, eta: float = 1e-1, eta_l: float = 1e-1, tau: float = 1e-9, **settings: Any) -> None:
        super().__init__(eta=eta, eta_l=eta_l, tau=tau, **settings)

    def second_moment(self, v: Array, square: Array) -> Array:
        """The sum."""
        return v + square


class FedAdam(FedOpt):
    """v ← β₂·v + (1 − β₂)·Δ², with Flower's correction of the bias."""

    def __init__(self, *, beta_1: float = 0.9, beta_2: float = 0.99, **settings: Any) -> None:
        super().__init__(beta_1=beta_1, beta_2=beta_2, **settings)

    def second_moment(self, v: Array, square: Array) -> Array:
        """The moving average."""
        return self.beta_2 * v + (1 - self.beta_2) * square

    def rate(self, server_round: int) -> float:
        """η·√(1 − β₂^(t+1)) / (1 − β₁^(t+1))."""
        t = server_round + 1.0
        return float(self.eta * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t))


class FedYogi(FedOpt):
    """v ← v − (1 − β₂)·Δ²·sign(v − Δ²)."""

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
        super().__init__(eta=eta, eta_l=eta_l, beta_1=beta_1, beta_2=beta_2, tau=tau, **settings)

    def second_moment(self, v: Array, square: Array) -> Array:
        """Moves by the difference's sign only."""
        step: Array = (1 - self.beta_2) * square * np.sign(v - square)
        return v - step
