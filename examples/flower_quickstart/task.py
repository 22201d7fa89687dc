"""What is trained, and on what: softmax regression in NumPy on scikit-learn's digits. It knows nothing of federations."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from hansa.interop.flower.datasets import FederatedDataset
from hansa.interop.flower.datasets.partitioner import DirichletPartitioner

CLIENTS = 10
Array = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]


@functools.cache
def load(partition_id: int) -> list[tuple[Array, Labels]]:
    """One client's examples: (pixels, labels) to train on, and to test on."""
    partitioner = DirichletPartitioner(num_partitions=CLIENTS, partition_by="y", alpha=0.5)
    digits = FederatedDataset(dataset="digits", partitioners={"train": partitioner})
    parts = digits.load_partition(partition_id).train_test_split(test_size=0.2, seed=42)
    return [(np.stack(part["x"]).reshape(len(part), 64), np.array(part["y"], np.int64)) for part in parts.values()]


def init() -> list[Array]:
    """The model's parameters: weights and biases."""
    return [np.zeros((64, 10), np.float32), np.zeros(10, np.float32)]


def train(parameters: list[Array], pixels: Array, labels: Labels, lr: float, epochs: int) -> list[Array]:
    """Gradient descent on the cross-entropy; the trained parameters."""
    weights, biases = parameters
    for _ in range(epochs):
        error = probabilities(weights, biases, pixels) - np.eye(10, dtype=np.float32)[labels]
        weights = weights - lr * pixels.T @ error / len(labels)
        biases = biases - lr * error.mean(axis=0)
    return [weights, biases]


def test(parameters: list[Array], pixels: Array, labels: Labels) -> tuple[float, float]:
    """The cross-entropy, and the share of examples that are recognised."""
    found = probabilities(parameters[0], parameters[1], pixels)
    loss = -np.log(found[np.arange(len(labels)), labels] + 1e-9).mean()
    return float(loss), float((found.argmax(axis=1) == labels).mean())


def probabilities(weights: Array, biases: Array, pixels: Array) -> Array:
    scores = pixels @ weights + biases
    powers: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    total: Array = powers.sum(axis=1, keepdims=True)
    return powers / total
