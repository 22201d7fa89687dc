"""A run's losses and metrics by round, in the form in which Flower's programs read and print them."""

from __future__ import annotations

import pprint
from typing import Any

from hansa.core import history
from hansa.core.work import Scalar

Series = dict[str, list[tuple[int, Scalar]]]


class History:
    """What was measured, as pairs (round, value).

    Attributes:
        losses_distributed: of the clients' evaluations.
        losses_centralized: of the strategy's own `evaluate`; round 0 is before training.
        metrics_distributed_fit: what `aggregate_fit` returned.
        metrics_distributed: what `aggregate_evaluate` returned.
        metrics_centralized: what `evaluate` returned.
        run: Hansa's own record of the run: every ask, what became of every client, and the model; None before its end.
    """

    def __init__(self) -> None:
        self.losses_distributed: list[tuple[int, float]] = []
        self.losses_centralized: list[tuple[int, float]] = []
        self.metrics_distributed_fit: Series = {}
        self.metrics_distributed: Series = {}
        self.metrics_centralized: Series = {}
        self.run: history.History | None = None

    def add_loss_distributed(self, server_round: int, loss: float) -> None:
        """One loss of the clients'."""
        self.losses_distributed.append((server_round, loss))

    def add_loss_centralized(self, server_round: int, loss: float) -> None:
        """One loss of the server's."""
        self.losses_centralized.append((server_round, loss))

    def add_metrics_distributed_fit(self, server_round: int, metrics: dict[str, Scalar]) -> None:
        """A round's metrics of training."""
        _add(self.metrics_distributed_fit, server_round, metrics)

    def add_metrics_distributed(self, server_round: int, metrics: dict[str, Scalar]) -> None:
        """A round's metrics of the clients' evaluation."""
        _add(self.metrics_distributed, server_round, metrics)

    def add_metrics_centralized(self, server_round: int, metrics: dict[str, Scalar]) -> None:
        """A round's metrics of the server's evaluation."""
        _add(self.metrics_centralized, server_round, metrics)

    def __repr__(self) -> str:
        losses = [("distributed", self.losses_distributed), ("centralized", self.losses_centralized)]
        metrics = [
            ("distributed, fit", self.metrics_distributed_fit, "\n"),
            ("distributed, evaluate", self.metrics_distributed, "\n"),
            ("centralized", self.metrics_centralized, ""),
        ]
        text = "".join(
            f"History (loss, {kind}):\n" + "".join(f"\tround {round_}: {loss}\n" for round_, loss in found)
            for kind, found in losses
            if found
        )
        return text + "".join(
            f"History (metrics, {kind}):\n{pprint.pformat(series)}{end}" for kind, series, end in metrics if series
        )


def _add(series: Series, server_round: int, metrics: dict[str, Any]) -> None:
    for name, value in metrics.items():
        series.setdefault(name, []).append((server_round, value))
