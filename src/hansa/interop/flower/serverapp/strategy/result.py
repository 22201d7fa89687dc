"""What a strategy over messages leaves: the model, and metrics by round."""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hansa.interop.flower.records import ArrayRecord, MetricRecord


@dataclass(repr=False)
class Result:
    """What a run of a strategy came to.

    Attributes:
        arrays: the last global model.
        train_metrics_clientapp: by round, of training at the nodes.
        evaluate_metrics_clientapp: by round, of evaluation at the nodes.
        evaluate_metrics_serverapp: by round, of evaluation at the server; 0 is before training.
    """

    arrays: ArrayRecord = field(default_factory=ArrayRecord)
    train_metrics_clientapp: dict[int, MetricRecord] = field(default_factory=dict)
    evaluate_metrics_clientapp: dict[int, MetricRecord] = field(default_factory=dict)
    evaluate_metrics_serverapp: dict[int, MetricRecord] = field(default_factory=dict)

    def __repr__(self) -> str:
        size = self.arrays.count_bytes() / 2**20
        sections = [
            ("Aggregated ClientApp-side Train Metrics", self.train_metrics_clientapp),
            ("Aggregated ClientApp-side Evaluate Metrics", self.evaluate_metrics_clientapp),
            ("ServerApp-side Evaluate Metrics", self.evaluate_metrics_serverapp),
        ]
        texts = [f"{title}:\n{pprint.pformat(_shown(metrics), indent=2)}\n" for title, metrics in sections]
        return "\n".join([f"Global Arrays:\n\tArrayRecord ({size:.3f} MB)\n", *texts])


def _shown(metrics: Mapping[int, MetricRecord]) -> dict[int, dict[str, str]]:
    return {round_: {name: _text(value) for name, value in record.items()} for round_, record in metrics.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return str([_text(each) for each in value])
    return f"{value:.4e}" if isinstance(value, float) else str(value)
