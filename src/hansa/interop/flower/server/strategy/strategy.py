"""The port of strategies: six methods that a run calls in order."""

from __future__ import annotations

from abc import ABC, abstractmethod

from hansa.core.work import Scalar
from hansa.interop.flower.common.typing import EvaluateIns, EvaluateRes, FitIns, FitRes
from hansa.interop.flower.parameters import Parameters
from hansa.interop.flower.server.client_manager import ClientManager
from hansa.interop.flower.server.client_proxy import ClientProxy

FitFailures = list[tuple[ClientProxy, FitRes] | BaseException]
EvaluateFailures = list[tuple[ClientProxy, EvaluateRes] | BaseException]


class Strategy(ABC):
    """Says who is asked for what in each round, and what is made of the answers."""

    @abstractmethod
    def initialize_parameters(self, client_manager: ClientManager) -> Parameters | None:
        """The parameters to start from; None: ask a client for its own."""

    @abstractmethod
    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Who trains in this round, and what each is told; nobody: the round has no training."""

    @abstractmethod
    def aggregate_fit(
        self, server_round: int, results: list[tuple[ClientProxy, FitRes]], failures: FitFailures
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """The next parameters, or None to keep the present ones, and the round's metrics."""

    @abstractmethod
    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """Who evaluates in this round, and what each is told; nobody: the round has no evaluation by clients."""

    @abstractmethod
    def aggregate_evaluate(
        self, server_round: int, results: list[tuple[ClientProxy, EvaluateRes]], failures: EvaluateFailures
    ) -> tuple[float | None, dict[str, Scalar]]:
        """The loss, or None, and metrics of the clients' evaluations together."""

    @abstractmethod
    def evaluate(self, server_round: int, parameters: Parameters) -> tuple[float, dict[str, Scalar]] | None:
        """The loss and metrics of the parameters, measured here; None: it is not measured here."""
