"""Learning-rate schedules: a factor for the learning rate, by round. The first round is 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[int], float]
"""The factor that multiplies the learning rate in a round."""


@dataclass(frozen=True)
class Constant:
    """Always 1."""

    def __call__(self, round: int) -> float:  # noqa: A002, ARG002 - the field's word, and a schedule's signature
        """1."""
        return 1.0


@dataclass(frozen=True)
class ExponentialDecay:
    """`decay` to the power of the rounds before this one: 1, d, d², ..."""

    decay: float

    def __call__(self, round: int) -> float:  # noqa: A002 - the field's word
        """decay ** (round - 1)."""
        return float(self.decay ** max(round - 1, 0))


@dataclass(frozen=True)
class CosineDecay:
    """Half a cosine from 1 in round 1 down to `floor` in round `rounds` and after it."""

    rounds: int
    floor: float = 0.0

    def __call__(self, round: int) -> float:  # noqa: A002 - the field's word
        """The factor of that round."""
        done = min(max(round - 1, 0) / max(self.rounds - 1, 1), 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Warmup:
    """Grow linearly to 1 over the first `rounds` rounds, then follow another schedule from its own round 1."""

    rounds: int
    then: Schedule = Constant()

    def __call__(self, round: int) -> float:  # noqa: A002 - the field's word
        """The factor of that round."""
        return max(round, 1) / self.rounds if round <= self.rounds else self.then(round - self.rounds)
