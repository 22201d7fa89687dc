"""The two works that this owner knows: softmax regression by mini-batch gradient descent, and its evaluation; with NumPy.

Parameters are "layer1.weight" of shape (classes, inputs) and "layer1.bias" of shape (classes,), in float32 or float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from .choices import generator
from .trees import Tree

Array = npt.NDArray[Any]
WEIGHT, BIAS = "layer1.weight", "layer1.bias"


@dataclass(frozen=True)
class Examples:
    """Inputs of shape (n, inputs), and labels of shape (n,)."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Recipe:
    """How an experiment that the owner knows trains."""

    rate: float
    batch: int
    steps: int


@dataclass(frozen=True)
class Visit:
    """Where the random choices of one visit come from."""

    seed: int
    client: str
    round: int
    work: str
    occurrence: int


Answer = tuple[Tree, float, dict[str, Any]]
"""(update, weight, metrics)"""


def train(model: Tree, examples: Examples, recipe: Recipe, visit: Visit, progress: Callable[[int], None]) -> Answer:
    """The change of the model, and the mean loss before each step."""
    weight, bias, losses = model[WEIGHT], model[BIAS], 0.0
    seen = 0
    for step, rows in enumerate(batches(len(examples), recipe, visit)):
        progress(step)
        x, y = examples.x[rows].astype(weight.dtype), examples.y[rows]
        scores = log_softmax(x, weight, bias)
        error = (np.exp(scores) - np.eye(len(bias), dtype=weight.dtype)[y]) / len(y)
        losses = losses + -scores[np.arange(len(y)), y].mean() * float(len(y))
        weight, bias = weight - error.T @ x * recipe.rate, bias - error.sum(axis=0) * recipe.rate
        seen += len(y)
    change = {WEIGHT: weight - model[WEIGHT], BIAS: bias - model[BIAS]}
    return change, float(len(examples)), {"loss": mean(float(losses) / seen, seen)}


def evaluate(model: Tree, examples: Examples) -> Answer:
    """No arrays, and the mean loss and the accuracy."""
    n = len(examples)
    scores = log_softmax(examples.x.astype(model[WEIGHT].dtype), model[WEIGHT], model[BIAS])
    loss = float(-scores[np.arange(n), examples.y].mean())
    hits = int((scores.argmax(axis=1) == examples.y).sum())
    return {}, float(n), {"loss": mean(loss, n), "accuracy": {"kind": "mean", "total": str(hits), "weight": str(n)}}


def batches(examples: int, recipe: Recipe, visit: Visit) -> Iterator[Array]:
    """Which examples each step sees: every epoch in a new order."""
    step, epoch = 0, 0
    while step < recipe.steps:
        path = (visit.client, visit.round, visit.work, visit.occurrence, "shuffle", "epoch", epoch)
        order = generator(visit.seed, "client", *path).permutation(examples)
        for begin in range(0, examples, recipe.batch):
            if step < recipe.steps:
                yield order[begin : begin + recipe.batch]
            step += 1
        epoch += 1


def log_softmax(x: Array, weight: Array, bias: Array) -> Array:
    """The logarithm of each class's probability, shape (n, classes)."""
    scores = x @ weight.T + bias
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def mean(value: float, weight: int) -> dict[str, Any]:
    """A mean as metrics say it: exact sums."""
    return {"kind": "mean", "value": value, "total": str(Fraction(value) * weight), "weight": str(weight)}
