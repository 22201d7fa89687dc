"""FedAvg as Flower's users configure it, and FedProx, which differs at the clients only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from hansa.core.work import Scalar
from hansa.interop.flower.common.logger import log
from hansa.interop.flower.common.typing import EvaluateIns, EvaluateRes, FitIns, FitRes, Metrics, MetricsAggregationFn
from hansa.interop.flower.parameters import NDArrays, Parameters, parameters_to_ndarrays
from hansa.interop.flower.server.client_manager import ClientManager
from hansa.interop.flower.server.client_proxy import ClientProxy
from hansa.interop.flower.server.strategy.aggregate import aggregate_inplace, weighted_loss_avg
from hansa.interop.flower.server.strategy.strategy import EvaluateFailures, FitFailures, Strategy

Evaluate = Callable[[int, NDArrays, dict[str, Scalar]], tuple[float, dict[str, Scalar]] | None]
Configure = Callable[[int], dict[str, Scalar]]


class FedAvg(Strategy):
    """Federated averaging (McMahan et al. 2017).

    Args:
        fraction_fit: the share of the clients that train in a round, rounded down.
        fraction_evaluate: the share that evaluates; 0 for no evaluation by clients.
        min_fit_clients: at least so many train.
        min_evaluate_clients: at least so many evaluate.
        min_available_clients: so many must be there before any is chosen.
        evaluate_fn: measures parameters here: (round, arrays, {}) -> (loss, metrics), or None.
        on_fit_config_fn: what clients are told for training, by round.
        on_evaluate_config_fn: what they are told for evaluation.
        accept_failures: whether a round counts in which a client failed.
        initial_parameters: to start from; a client's own unless given.
        fit_metrics_aggregation_fn: makes one dict of the clients' metrics of training.
        evaluate_metrics_aggregation_fn: the same of their evaluations.
        inplace: changes nothing here.
        fraction_eval: the older name of `fraction_evaluate`.
        min_eval_clients: the older name of `min_evaluate_clients`.
        eval_fn: the older form of `evaluate_fn`, which is given the arrays only.
    """

    def __init__(
        self,
        fraction_fit: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_fit_clients: int = 2,
        min_evaluate_clients: int = 2,
        min_available_clients: int = 2,
        evaluate_fn: Evaluate | None = None,
        on_fit_config_fn: Configure | None = None,
        on_evaluate_config_fn: Configure | None = None,
        accept_failures: bool = True,
        initial_parameters: Parameters | None = None,
        fit_metrics_aggregation_fn: MetricsAggregationFn | None = None,
        evaluate_metrics_aggregation_fn: MetricsAggregationFn | None = None,
        *,
        inplace: bool = True,
        fraction_eval: float | None = None,
        min_eval_clients: int | None = None,
        eval_fn: Callable[[NDArrays], tuple[float, dict[str, Scalar]] | None] | None = None,
    ) -> None:
        self.fraction_fit = fraction_fit
        self.fraction_evaluate = fraction_evaluate if fraction_eval is None else fraction_eval
        self.min_fit_clients = min_fit_clients
        self.min_evaluate_clients = min_evaluate_clients if min_eval_clients is None else min_eval_clients
        self.min_available_clients = min_available_clients
        self.evaluate_fn = evaluate_fn if eval_fn is None else _with_round(eval_fn)
        self.on_fit_config_fn = on_fit_config_fn
        self.on_evaluate_config_fn = on_evaluate_config_fn
        self.accept_failures = accept_failures
        self.initial_parameters = initial_parameters
        self.fit_metrics_aggregation_fn = fit_metrics_aggregation_fn
        self.evaluate_metrics_aggregation_fn = evaluate_metrics_aggregation_fn
        self.inplace = inplace

    def __repr__(self) -> str:
        return f"{type(self).__name__}(accept_failures={self.accept_failures})"

    def num_fit_clients(self, num_available_clients: int) -> tuple[int, int]:
        """How many train, and how many must be there."""
        return max(int(num_available_clients * self.fraction_fit), self.min_fit_clients), self.min_available_clients

    def num_evaluation_clients(self, num_available_clients: int) -> tuple[int, int]:
        """How many evaluate, and how many must be there."""
        chosen = int(num_available_clients * self.fraction_evaluate)
        return max(chosen, self.min_evaluate_clients), self.min_available_clients

    def initialize_parameters(self, client_manager: ClientManager) -> Parameters | None:  # noqa: ARG002 - the port's signature
        """`initial_parameters`, which are not kept."""
        initial, self.initial_parameters = self.initial_parameters, None
        return initial

    def evaluate(self, server_round: int, parameters: Parameters) -> tuple[float, dict[str, Scalar]] | None:
        """What `evaluate_fn` says."""
        if self.evaluate_fn is None:
            return None
        return self.evaluate_fn(server_round, parameters_to_ndarrays(parameters), {})

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """A sample of the clients, all told the same."""
        config = self.on_fit_config_fn(server_round) if self.on_fit_config_fn is not None else {}
        size, least = self.num_fit_clients(client_manager.num_available())
        ins = FitIns(parameters, config)
        return [(client, ins) for client in client_manager.sample(size, least)]

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """A sample of the clients, all told the same; nobody where the fraction is 0."""
        if not self.fraction_evaluate:
            return []
        config = self.on_evaluate_config_fn(server_round) if self.on_evaluate_config_fn is not None else {}
        size, least = self.num_evaluation_clients(client_manager.num_available())
        ins = EvaluateIns(parameters, config)
        return [(client, ins) for client in client_manager.sample(size, least)]

    def aggregate_fit(
        self, server_round: int, results: list[tuple[ClientProxy, FitRes]], failures: FitFailures
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """The mean of the clients' parameters, weighted by their examples.

        A run calls this only for a subclass that overrides it; otherwise it averages as answers come, and calls `completed`.
        """
        if not results:
            return None, {}
        reports = [(res.num_examples, res.metrics) for _, res in results]
        return self.completed(server_round, aggregate_inplace(results), reports, failures)

    def completed(
        self, server_round: int, mean: NDArrays, reports: Sequence[tuple[int, Metrics]], failures: Sequence[Any]
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """What follows from a round whose mean is known: the next parameters, and its metrics."""
        if failures and not self.accept_failures:
            return None, {}
        return Parameters.of(self.stepped(server_round, mean)), self._fit_metrics(server_round, reports)

    def stepped(self, server_round: int, mean: NDArrays) -> NDArrays:  # noqa: ARG002 - for the server optimisers' sake
        """The next parameters: the mean itself. A server optimiser goes its own way."""
        return mean

    def aggregate_evaluate(
        self, server_round: int, results: list[tuple[ClientProxy, EvaluateRes]], failures: EvaluateFailures
    ) -> tuple[float | None, dict[str, Scalar]]:
        """The mean loss, weighted by the clients' examples."""
        if not results or (failures and not self.accept_failures):
            return None, {}
        loss = weighted_loss_avg([(res.num_examples, res.loss) for _, res in results])
        if self.evaluate_metrics_aggregation_fn is None:
            _told_once(server_round, "evaluate_metrics_aggregation_fn")
            return loss, {}
        return loss, self.evaluate_metrics_aggregation_fn([(res.num_examples, res.metrics) for _, res in results])

    def _fit_metrics(self, server_round: int, reports: Sequence[tuple[int, Metrics]]) -> dict[str, Scalar]:
        if self.fit_metrics_aggregation_fn is None:
            _told_once(server_round, "fit_metrics_aggregation_fn")
            return {}
        return self.fit_metrics_aggregation_fn(list(reports))


class FedProx(FedAvg):
    """FedAvg that tells clients "proximal_mu", for the proximal term of their own loss (Li et al. 2020).

    Args:
        proximal_mu: the weight of the term.
        settings: those of `FedAvg`.
    """

    def __init__(self, *, proximal_mu: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.proximal_mu = proximal_mu

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """As FedAvg, with "proximal_mu" in what clients are told."""
        return [
            (client, FitIns(ins.parameters, {**ins.config, "proximal_mu": self.proximal_mu}))
            for client, ins in super().configure_fit(server_round, parameters, client_manager)
        ]


def _with_round(eval_fn: Callable[[NDArrays], tuple[float, dict[str, Scalar]] | None]) -> Evaluate:
    """The older function that is given the arrays only, as one that is given the round too."""
    return lambda _round, arrays, _config: eval_fn(arrays)


def _told_once(server_round: int, name: str) -> None:
    if server_round == 1:
        log(logging.WARNING, "No %s provided", name)
