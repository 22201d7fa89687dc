"""The losses and penalties of scikit-learn's linear models and perceptrons, with their slopes, in NumPy.

Every loss takes scores, shape (examples, k), and targets of the same shape: ±1 for the losses of margins, 0 and 1 for the
softmax, numbers for regression. It gives each score's loss and the slope by that score, both of the same shape; an example's
loss is the sum over its k scores. Where a loss has a kink, the slope is the one that scikit-learn steps along.

This file must not know what the scores were computed from.

Source: scikit-learn's user guide, "Stochastic Gradient Descent", section "Mathematical formulation", and "Neural network
models (supervised)", section "Mathematical formulation".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hansa.core.tree import Array

Loss = Callable[[Array, Array], tuple[Array, Array]]
"""(scores, targets) -> (losses, slopes), all of shape (examples, k)."""


def log_loss(scores: Array, signs: Array) -> tuple[Array, Array]:
    """log(1 + exp(−ys)): logistic regression of two classes."""
    margins = signs * scores
    return np.logaddexp(0, -margins), -signs * np.exp(-np.logaddexp(0, margins))


def softmax_loss(scores: Array, shares: Array) -> tuple[Array, Array]:
    """−Σ y·log softmax(s): logistic regression of several classes."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -shares * logarithms, np.exp(logarithms) - shares


@dataclass(frozen=True)
class Hinge:
    """max(0, threshold − ys): a support vector machine at 1, the perceptron at 0."""

    threshold: float = 1.0

    def __call__(self, scores: Array, signs: Array) -> tuple[Array, Array]:
        """Losses and slopes."""
        short = self.threshold - signs * scores
        return np.maximum(short, 0), np.where(short >= 0, -signs, 0)


def squared_hinge(scores: Array, signs: Array) -> tuple[Array, Array]:
    """max(0, 1 − ys)²."""
    short = np.maximum(1 - signs * scores, 0)
    return short**2, -2 * signs * short


def modified_huber(scores: Array, signs: Array) -> tuple[Array, Array]:
    """max(0, 1 − ys)² where ys ≥ −1, and −4ys below."""
    margins = signs * scores
    short, far = np.maximum(1 - margins, 0), margins < -1
    return np.where(far, -4 * margins, short**2), np.where(far, -4, -2 * short) * signs


def squared_error(scores: Array, targets: Array) -> tuple[Array, Array]:
    """(s − y)² / 2."""
    errors = scores - targets
    return errors**2 / 2, errors


@dataclass(frozen=True)
class Huber:
    """(s − y)² / 2 up to an error of ε, and linear beyond."""

    epsilon: float

    def __call__(self, scores: Array, targets: Array) -> tuple[Array, Array]:
        """Losses and slopes."""
        slopes = np.clip(scores - targets, -self.epsilon, self.epsilon)
        return slopes * (scores - targets) - slopes**2 / 2, slopes


@dataclass(frozen=True)
class EpsilonInsensitive:
    """max(0, |s − y| − ε), or its square."""

    epsilon: float
    squared: bool = False

    def __call__(self, scores: Array, targets: Array) -> tuple[Array, Array]:
        """Losses and slopes."""
        errors = scores - targets
        beyond = np.maximum(abs(errors) - self.epsilon, 0)
        if self.squared:
            return beyond**2, 2 * beyond * np.sign(errors)
        return beyond, np.where(beyond > 0, np.sign(errors), 0)


@dataclass(frozen=True)
class Penalty:
    """l2/2·Σw² + l1·Σ|w| over the weights; intercepts go free."""

    l2: float = 0.0
    l1: float = 0.0

    def value(self, weights: Array) -> float:
        """What these weights add to the loss."""
        wide = weights.astype(np.float64)
        return float(self.l2 / 2 * np.vdot(wide, wide) + self.l1 * abs(wide).sum())

    def slope(self, weights: Array) -> Array:
        """The penalty's gradient, in the shape and dtype of the weights."""
        slope: Array = (self.l2 * weights + self.l1 * np.sign(weights)).astype(weights.dtype)
        return slope
