"""Evaluation: a work of its own that trains nothing, on each client's held-out data or at an evaluator with a central set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hansa.core.metrics import ConfusionMatrix, Mean, Metric, Metrics
from hansa.core.tree import Array, Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError, DataError
from hansa.models import Model
from hansa.models.model import field_of

Measure = Callable[[Array, Array], Metric]
"""(outputs of shape (batch, ...), labels of shape (batch, ...)) -> a metric that merges."""


def accuracy(outputs: Array, labels: Array) -> Mean:
    """The share of labels whose score is the highest; scores (n, classes, ...), labels (n, ...), such as one for each pixel."""
    return Mean.share(int(np.count_nonzero(outputs.argmax(axis=1) == labels)), labels.size)


@dataclass(frozen=True)
class TopK:
    """The share of examples whose label is among the k highest scores; scores (n, classes), labels (n,)."""

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"top-k looks at one score at least, not {self.k}")

    def __call__(self, outputs: Array, labels: Array) -> Mean:
        """The share, weighted by the examples."""
        k = min(self.k, outputs.shape[1])
        top = np.argpartition(outputs, -k, axis=1)[:, -k:]
        return Mean.share(int(np.count_nonzero(top == labels[:, None])), len(labels))


def confusion_matrix(outputs: Array, labels: Array) -> ConfusionMatrix:
    """How often each class was taken for each, by the highest score; scores (n, classes), labels (n,)."""
    return ConfusionMatrix.of(outputs.argmax(axis=1), labels, outputs.shape[1])


@dataclass(frozen=True)
class Evaluation:
    """Measure a model on one split of a client's data. The update carries no arrays, only metrics, "loss" among them.

    Attributes:
        model: what is measured; its `predict` gives loss and outputs.
        measures: further metrics by name.
        split: the data to measure on.
        batch_size: examples at a time; it does not change what is measured, only the memory that it takes.
        target: the field with the labels.
    """

    model: Model
    measures: Mapping[str, Measure] = field(default_factory=lambda: {"accuracy": accuracy})
    split: str = "test"
    batch_size: int = 256
    target: str = "y"

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: `broadcast` is the model's parameters and buffers.

        Raises:
            DataError: the client has nothing in this split.
        """
        examples = context.data.get(self.split)
        if examples is None or not len(examples):
            raise DataError(
                f"there are no examples in the split {self.split!r} to evaluate on",
                where=f"client {context.id!r}",
                hint=f"give the client data in {self.split!r}, or evaluate only clients that hold some",
            )
        params = self.model.load(broadcast, context.device)
        metrics = Metrics()
        for batch in examples.batches(self.batch_size):
            labels = field_of(batch, self.target, "Evaluation")
            loss, outputs = self.model.predict(params, batch)
            measured: dict[str, Metric] = {"loss": Mean.of(loss, len(labels))}
            measured |= {name: measure(outputs, labels) for name, measure in self.measures.items()}
            metrics = metrics.merge(Metrics(measured))
        return Update({}, float(len(examples)), metrics)
