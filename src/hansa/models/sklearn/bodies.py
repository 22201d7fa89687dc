"""What scikit-learn's estimators compute their scores with: a linear map, or layers of them; differentiated by hand, in NumPy.

Leaves have the names and shapes of scikit-learn's attributes, a list's items numbered: "coef_", "coefs_.0".

This file must not know which loss the scores go into.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hansa.core.keys import Key
from hansa.core.tree import Array, Tree
from hansa.models.model import Resident


class Body(Protocol):
    """From inputs to scores, and from the scores' slopes back to a gradient."""

    @property
    def weights(self) -> tuple[str, ...]:
        """The leaves that a penalty applies to."""
        ...

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves that are not trained."""
        ...

    def init(self, key: Key, dtype: str) -> Tree:
        """Initial leaves."""
        ...

    def forward(self, params: Resident, x: Array) -> tuple[Array, Any]:
        """Scores, shape (examples, k), of inputs, shape (examples, features); and what `backward` needs of the way there."""
        ...

    def backward(self, params: Resident, passed: Any, slopes: Array) -> Resident:
        """The gradient of Σ slopes·scores for every leaf that is trained."""
        ...


@dataclass(frozen=True)
class Linear:
    """Scores x·coef_ᵀ + intercept_, which start at zero as scikit-learn's do.

    Attributes:
        features: numbers an example.
        rows: scores an example.
        flat: coef_ has shape (features,), as a regressor's; otherwise (rows, features).
        intercept: train intercept_, shape (rows,); otherwise it is a buffer of zeros.
        counts: there is a buffer t_, the number of examples that the estimator's own `partial_fit` has seen, plus one.
    """

    features: int
    rows: int
    flat: bool
    intercept: bool
    counts: bool

    @property
    def weights(self) -> tuple[str, ...]:
        """The coefficients."""
        return ("coef_",)

    @property
    def buffers(self) -> frozenset[str]:
        """The counter, and an intercept that is not trained."""
        return frozenset(name for name, there in (("t_", self.counts), ("intercept_", not self.intercept)) if there)

    def init(self, key: Key, dtype: str) -> Tree:  # noqa: ARG002 - the port's signature
        """Zeros; every key gives the same."""
        shape = (self.features,) if self.flat else (self.rows, self.features)
        leaves: Tree = {"coef_": np.zeros(shape, dtype), "intercept_": np.zeros(self.rows, dtype)}
        return {**leaves, "t_": np.array(1.0)} if self.counts else leaves

    def forward(self, params: Resident, x: Array) -> tuple[Array, Any]:
        """One product."""
        return x @ params["coef_"].reshape(self.rows, self.features).T + params["intercept_"], x

    def backward(self, params: Resident, passed: Any, slopes: Array) -> Resident:
        """One more."""
        gradient: Resident = {"coef_": (slopes.T @ passed).reshape(params["coef_"].shape)}
        return {**gradient, "intercept_": slopes.sum(axis=0)} if self.intercept else gradient


@dataclass(frozen=True)
class Activation:
    """A function between layers, with its slope as a function of its own value."""

    of: Callable[[Array], Array]
    slope: Callable[[Array], Any]


def _sigmoid(signal: Array) -> Array:
    value: Array = np.exp(-np.logaddexp(0, -signal))
    return value


ACTIVATIONS = {
    "identity": Activation(lambda signal: signal, lambda _: 1),
    "relu": Activation(lambda signal: np.maximum(signal, 0), lambda value: value > 0),
    "tanh": Activation(np.tanh, lambda value: 1 - value**2),
    "logistic": Activation(_sigmoid, lambda value: value * (1 - value)),
}
"""scikit-learn's activations by its names."""


@dataclass(frozen=True)
class Layers:
    """A multilayer perceptron: layer N has "coefs_.N", shape (inputs, outputs), and "intercepts_.N", shape (outputs,).

    Attributes:
        sizes: the widths from the inputs to the scores.
        activation: between the layers, a name in `ACTIVATIONS`; none follows the last.
    """

    sizes: tuple[int, ...]
    activation: str

    @property
    def weights(self) -> tuple[str, ...]:
        """The layers' coefficients."""
        return tuple(f"coefs_.{layer}" for layer in range(len(self.sizes) - 1))

    @property
    def buffers(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def init(self, key: Key, dtype: str) -> Tree:
        """Uniform in ±√(6 / (inputs + outputs)), as Glorot & Bengio 2010 do and scikit-learn with them; 2 for "logistic"."""
        generator, factor = key.generator(), 2.0 if self.activation == "logistic" else 6.0
        coefficients, intercepts = {}, {}
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(self.sizes)):
            bound = np.sqrt(factor / (fan_in + fan_out))
            coefficients[f"coefs_.{layer}"] = generator.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype)
            intercepts[f"intercepts_.{layer}"] = generator.uniform(-bound, bound, fan_out).astype(dtype)
        return {**coefficients, **intercepts}

    def forward(self, params: Resident, x: Array) -> tuple[Array, Any]:
        """Layer by layer."""
        inputs = []
        for layer in range(len(self.sizes) - 1):
            inputs.append(x)
            x = x @ params[f"coefs_.{layer}"] + params[f"intercepts_.{layer}"]
            if layer < len(self.sizes) - 2:
                x = ACTIVATIONS[self.activation].of(x)
        return x, inputs

    def backward(self, params: Resident, passed: Any, slopes: Array) -> Resident:
        """Backpropagation."""
        gradient: Resident = {}
        for layer in reversed(range(len(self.sizes) - 1)):
            inputs = passed[layer]
            gradient[f"coefs_.{layer}"], gradient[f"intercepts_.{layer}"] = inputs.T @ slopes, slopes.sum(axis=0)
            if layer:
                slopes = (slopes @ params[f"coefs_.{layer}"].T) * ACTIVATIONS[self.activation].slope(inputs)
        return gradient
