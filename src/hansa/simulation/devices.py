"""How quick devices and their links are, drawn once for each client: nobody is drawn who is never asked.

Device speeds of real populations are close to log-normal (Lai et al. 2021, "FedScale", section 3; Ignatov et al. 2019, "AI
Benchmark"). This file must not know what time it is, or who is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hansa.core.keys import Key
from hansa.errors import ConfigError


@dataclass(frozen=True)
class LogNormal:
    """A positive number whose logarithm is normally distributed.

    Attributes:
        median: half of all are smaller; positive.
        sigma: the standard deviation of the natural logarithm, at least 0; at 1 two in three lie within a factor e.

    Raises:
        ConfigError: the median is not positive, or sigma is negative.
    """

    median: float
    sigma: float = 1.0

    def __post_init__(self) -> None:
        _positive("the median of a log-normal distribution", self.median)
        if not 0 <= self.sigma < math.inf:
            raise ConfigError(f"the sigma of a log-normal distribution is 0 or more, not {self.sigma}")

    def draw(self, key: Key) -> float:
        """The number at a key."""
        return self.median * math.exp(self.sigma * float(key.generator().standard_normal()))


@dataclass(frozen=True)
class Speeds:
    """How long clients take for a visit: log-normal, and some of them slower by a factor; the same in every visit of a run.

    Attributes:
        median: seconds that half of the clients stay below; with `per_example`, seconds for each example that a client holds.
        sigma: of the logarithm; see `LogNormal`. 0 makes all alike.
        slow: the probability that a client is one of the slow ones.
        factor: how many times longer those take.
        per_example: the time grows with the examples that a client holds, those of all splits together.

    Raises:
        ConfigError: a number makes no sense.
    """

    median: float = 1.0
    sigma: float = 1.0
    slow: float = 0.0
    factor: float = 10.0
    per_example: bool = False

    def __post_init__(self) -> None:
        LogNormal(self.median, self.sigma)
        _share("the share of slow clients", self.slow)
        _positive("the factor of slow clients", self.factor)

    def draw(self, key: Key) -> float:
        """Seconds of a visit, or for each example, of the client at a key."""
        slow = self.slow > 0 and uniform(key.child("slow")) < self.slow
        return LogNormal(self.median, self.sigma).draw(key) * (self.factor if slow else 1.0)


Rate = float | LogNormal
"""Bytes a second: the same for all, or drawn for each client."""


@dataclass(frozen=True)
class Link:
    """One client's link; rates in bytes a second, the latency in seconds."""

    down: float = math.inf
    up: float = math.inf
    latency: float = 0.0


@dataclass(frozen=True)
class Network:
    """The links between the clients and the coordinator, each with a bandwidth of its own.

    Attributes:
        down: bytes a second toward a client; a number, or `LogNormal` for one drawn for each client. Unlimited unless given.
        up: bytes a second from a client.
        latency: seconds before the first byte arrives, once a visit; a number or `LogNormal`.

    Raises:
        ConfigError: a rate is not positive, or the latency is negative.
    """

    down: Rate = math.inf
    up: Rate = math.inf
    latency: float | LogNormal = 0.0

    def __post_init__(self) -> None:
        for name in ("down", "up"):
            rate = getattr(self, name)
            if not isinstance(rate, LogNormal) and not rate > 0:
                raise ConfigError(f"a link's {name} is a positive number of bytes a second, not {rate}")
        if not isinstance(self.latency, LogNormal) and not 0 <= self.latency < math.inf:
            raise ConfigError(f"a link's latency is a number of seconds, 0 or more, not {self.latency}")

    def draw(self, key: Key) -> Link:
        """The link of the client at a key."""
        return Link(
            *(
                number.draw(key.child(name)) if isinstance(number, LogNormal) else float(number)
                for name, number in (("down", self.down), ("up", self.up), ("latency", self.latency))
            )
        )


def uniform(key: Key) -> float:
    """A number in [0, 1)."""
    return key.integer(53) / (1 << 53)


def _positive(what: str, number: float) -> None:
    if not 0 < number < math.inf:
        raise ConfigError(f"{what} is a positive number, not {number}")


def _share(what: str, number: float) -> None:
    if not 0 <= number <= 1:
        raise ConfigError(f"{what} lies in [0, 1], not {number}")
