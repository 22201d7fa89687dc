"""What an update is worth that was computed from an old model: functions of its staleness, as frozen values.

C. Xie, S. Koyejo, I. Gupta, Asynchronous Federated Optimization, 2019 (arXiv:1903.03934), section 5.2. For each of them a fresh
update counts in full, s(0) = 1, and an older one never more than a younger.

This file must not know what is discounted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hansa.errors import ConfigError

Staleness = Callable[[int], float]
"""How many model updates an update is behind (0: it is fresh) -> the factor with which it counts, in [0, 1]."""


@dataclass(frozen=True)
class Constant:
    """s(τ) = 1: an old update counts as much as a fresh one."""

    def __call__(self, staleness: int) -> float:  # noqa: ARG002 - the signature of all of them
        """1."""
        return 1.0


@dataclass(frozen=True)
class Polynomial:
    """s(τ) = (1 + τ)^(−a); with a = 0.5 it is FedBuff's 1/√(1 + τ).

    Attributes:
        a: how steeply it falls; 0 is `Constant`.
    """

    a: float = 0.5

    def __post_init__(self) -> None:
        if not self.a >= 0:
            raise ConfigError(f"the exponent a of Polynomial is at least 0, not {self.a}")

    def __call__(self, staleness: int) -> float:
        """The factor."""
        return float((1.0 + staleness) ** -self.a)


@dataclass(frozen=True)
class Hinge:
    """s(τ) = 1 up to τ = b, and 1 / (a·(τ − b) + 1) beyond it.

    Attributes:
        a: how steeply it falls beyond b.
        b: up to this staleness an update counts in full.
    """

    a: float
    b: int

    def __post_init__(self) -> None:
        if not self.a >= 0:
            raise ConfigError(f"the slope a of Hinge is at least 0, not {self.a}")
        if self.b < 0:
            raise ConfigError(f"the b of Hinge, up to which an update counts in full, is at least 0, not {self.b}")

    def __call__(self, staleness: int) -> float:
        """The factor."""
        return 1.0 if staleness <= self.b else 1.0 / (self.a * (staleness - self.b) + 1.0)
