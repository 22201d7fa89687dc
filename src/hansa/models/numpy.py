"""A multilayer perceptron in NumPy, differentiated by hand: for devices without a framework, and the oracle of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hansa.core.keys import Key
from hansa.core.tree import Array, Tree, aligned, aligned_copy
from hansa.errors import ConfigError, DataError
from hansa.models.model import Batch, Gradient, Prediction, Resident, field_of, label_outside

_quiet = np.errstate(over="ignore", invalid="ignore")
"""A training that diverges is reported by the update gate; NumPy's own warnings would only name an operator."""


@dataclass(frozen=True)
class NumpyMLP:
    """Fully connected layers with ReLU between them and a softmax cross-entropy loss.

    Leaves are "layerN.weight", shape (outputs, inputs), and "layerN.bias", shape (outputs,), N from 1.

    Attributes:
        sizes: the widths from the inputs to the classes; two of them make a softmax regression.
        inputs: the field of a batch with the inputs, shape (batch, ...), flattened.
        target: the field with the integer labels, shape (batch,).
        dtype: of the parameters and the arithmetic.
    """

    sizes: tuple[int, ...]
    inputs: str = "x"
    target: str = "y"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ConfigError(f"sizes go from the inputs to the classes, each at least 1, not {self.sizes}")

    @property
    def buffers(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def init(self, key: Key) -> Tree:
        """Weights drawn as He et al. 2015 do, N(0, 2/inputs); a softmax regression and all biases start at zero."""
        generator, params = key.generator(), {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), start=1):
            deviation = np.sqrt(2 / fan_in) if len(self.sizes) > 2 else 0.0
            params[f"layer{layer}.weight"] = (deviation * generator.standard_normal((fan_out, fan_in))).astype(
                self.dtype
            )
            params[f"layer{layer}.bias"] = np.zeros(fan_out, self.dtype)
        return params

    def load(self, params: Tree, device: str = "cpu") -> Resident:  # noqa: ARG002 - the port's signature
        """Aligned copies."""
        return aligned(params)

    def dump(self, params: Resident) -> Tree:
        """Copies."""
        return {name: np.array(leaf) for name, leaf in params.items()}

    @_quiet
    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:  # noqa: ARG002 - the port's signature
        """Backpropagation."""
        activations, scores = self._forward(params, batch)
        labels = self._labels(batch)
        shifted = _log_softmax(scores)
        rows = np.arange(len(labels))
        error = np.exp(shifted)
        error[rows, labels] -= 1
        error /= len(labels)
        gradient: Resident = {}
        for layer in range(len(self.sizes) - 1, 0, -1):
            below = activations[layer - 1]
            gradient[f"layer{layer}.weight"], gradient[f"layer{layer}.bias"] = error.T @ below, error.sum(axis=0)
            if layer > 1:
                error = (error @ params[f"layer{layer}.weight"]) * (below > 0)
        return Gradient(-shifted[rows, labels].mean(), gradient, {})

    @_quiet
    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """The scores before the softmax, shape (batch, classes)."""
        _, scores = self._forward(params, batch)
        labels = self._labels(batch)
        return Prediction(float(-_log_softmax(scores)[np.arange(len(labels)), labels].mean()), scores)

    def _forward(self, params: Resident, batch: Batch) -> tuple[list[Array], Array]:
        """The inputs of every layer, and the scores."""
        images = field_of(batch, self.inputs, "NumpyMLP")
        signal = aligned_copy(images.reshape(len(images), -1).astype(self.dtype, copy=False))
        if signal.shape[1] != self.sizes[0]:
            raise DataError(
                f"field {self.inputs!r} has {signal.shape[1]} numbers an example, and the model takes {self.sizes[0]}",
                hint=f"use sizes=({signal.shape[1]}, ...)",
            )
        activations = []
        for layer in range(1, len(self.sizes)):
            activations.append(signal)
            signal = signal @ params[f"layer{layer}.weight"].T + params[f"layer{layer}.bias"]
            if layer < len(self.sizes) - 1:
                signal = np.maximum(signal, 0)
        return activations, signal

    def _labels(self, batch: Batch) -> Array:
        labels = field_of(batch, self.target, "NumpyMLP")
        if labels.ndim != 1:
            raise DataError(
                f"labels have shape {labels.shape}, expected one number an example",
                where=f"field {self.target!r}",
                hint="flatten them",
            )
        outside = labels[(labels < 0) | (labels >= self.sizes[-1])]
        if outside.size:
            raise label_outside(int(outside[0]), self.sizes[-1])
        return labels.astype(np.int64)


def _log_softmax(scores: Array) -> Any:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
