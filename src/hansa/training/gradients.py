"""Gradient transforms: what FedProx and its kin change about local training is the gradient, not the loop.

They are written with plain operators and run on any framework's arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hansa.core import tree
from hansa.core.tree import Tree
from hansa.errors import ConfigError

GradientTransform = Callable[[Tree, Tree, Tree], Tree]
"""(gradient, parameters, the parameters that the client was given) -> gradient; trained leaves only."""


@dataclass(frozen=True)
class Chain:
    """One transform after the other."""

    transforms: tuple[GradientTransform, ...] = ()

    def __call__(self, gradient: Tree, params: Tree, start: Tree) -> Tree:
        """The gradient after all of them."""
        for transform in self.transforms:
            gradient = transform(gradient, params, start)
        return gradient


@dataclass(frozen=True)
class Proximal:
    """g + μ·(x − x₀): the gradient of the loss with a penalty of (μ/2)·‖x − x₀‖² (Li et al. 2020, FedProx, equation 2)."""

    mu: float

    def __post_init__(self) -> None:
        if not self.mu >= 0:
            raise ConfigError(f"the proximal term's μ is at least 0, not {self.mu}")

    def __call__(self, gradient: Tree, params: Tree, start: Tree) -> Tree:
        """The gradient of the penalised loss."""
        return tree.apply(lambda g, x, x0: g + (x - x0) * self.mu, gradient, params, start)


@dataclass(frozen=True)
class ClipNorm:
    """Scale the gradient down to a Euclidean norm, over all leaves together, of at most `bound`."""

    bound: float

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ConfigError(f"a bound on the norm is positive, not {self.bound}")

    def __call__(self, gradient: Tree, params: Tree, start: Tree) -> Tree:  # noqa: ARG002 - a transform's signature
        """The clipped gradient; unchanged where it is short enough."""
        norm = sum((g * g).sum() for g in gradient.values()) ** 0.5
        # A tiny norm would divide by zero; adding it to the denominator keeps this free of branches on device values.
        factor = (self.bound / (norm + 1e-12)).clip(None, 1.0)
        return tree.apply(lambda g: g * factor, gradient)
