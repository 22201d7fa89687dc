"""The virtual clock, as a value: `Federation.simulate(data, clock=hansa.VirtualClock(compute=hansa.Speeds(slow=0.1)))`.

It says how long a client's visit takes, when clients are there, and which of them go away in the midst of their work; all of it
drawn by a seed of its own, so that the same devices run every experiment. How time passes is in `hansa.simulation.timed`.
This file must not know who is asked, or what time it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from hansa.core.keys import Key, key
from hansa.core.population import ClientId
from hansa.errors import ConfigError, UnknownName
from hansa.simulation.availability import Always, Availability
from hansa.simulation.devices import Link, LogNormal, Network, Speeds, uniform

Compute = float | Mapping[ClientId, float] | Speeds | LogNormal | Callable[[ClientId, Key], float]
"""Seconds of a visit: the same for all, for each client, drawn for each client, or what a function of (client, the visit's key)
says."""


@dataclass(frozen=True)
class VirtualClock:
    """How time passes in a simulation.

    A visit takes the link's latency, the broadcast's bytes over its rate down, the seconds of `compute`, and the update's
    bytes over its rate up. The clock stands still while nothing happens, and computes nothing that does not count: a day
    passes in as long as its useful training takes.

    Attributes:
        compute: seconds of a visit; see `Compute`. Every visit is alike, an evaluation too.
        network: the clients' links; unless given, bytes take no time.
        availability: when clients are there: `Always()`, `Diurnal(...)`, `Trace(...)`. One that goes away while it is at work
            is dropped.
        dropout: the probability that a client goes away in the midst of a visit.
        seed: of the devices: their speeds, links, hours and dropouts. Not the experiment's.
        at_least: so many clients with training data must be there or at work before anything is asked; time moves on to when
            they are.
        instant: clients that take no time and are always there, such as an evaluator at the coordinator's own desk.

    Raises:
        ConfigError: a number makes no sense.
    """

    compute: Compute = field(default_factory=Speeds)
    network: Network = field(default_factory=Network)
    availability: Availability = field(default_factory=Always)
    dropout: float = 0.0
    seed: int = 0
    at_least: int = 1
    instant: Collection[ClientId] = ()

    def __post_init__(self) -> None:
        if isinstance(self.compute, int | float):
            _seconds(self.compute, "compute")
        elif isinstance(self.compute, Mapping):
            for client, seconds in self.compute.items():
                _seconds(seconds, f"client {client!r}")
        elif not isinstance(self.compute, Speeds | LogNormal) and not callable(self.compute):
            raise ConfigError(
                f"compute says how many seconds a visit takes, and {self.compute!r} does not",
                hint="give a number, a mapping of client to seconds, Speeds(...), or a function of (client, key)",
            )
        if not 0 <= self.dropout <= 1:
            raise ConfigError(f"the probability of a dropout lies in [0, 1], not {self.dropout}")
        if self.at_least < 0:
            raise ConfigError(f"at_least is a number of clients, 0 or more, not {self.at_least}")
        if isinstance(self.instant, str):
            raise ConfigError(
                f"instant names clients, and {self.instant!r} is one text", hint=f"instant=({self.instant!r},)"
            )


class Devices:
    """The devices of one run's clients, each drawn when it is first asked.

    Args:
        clock: how they are drawn.
        held: how many examples a client holds.
    """

    def __init__(self, clock: VirtualClock, held: Callable[[ClientId], int]) -> None:
        self._clock, self._held, self._instant = clock, held, frozenset(clock.instant)
        self._speeds: dict[ClientId, float] = {}
        self._links: dict[ClientId, Link] = {}

    def seconds(self, client: ClientId, visit: Key) -> float:
        """How long a visit computes.

        Raises:
            UnknownName: a mapping of seconds lacks the client.
            ConfigError: a function of the user's gave no number of seconds.
        """
        if client in self._instant:
            return 0.0
        compute = self._clock.compute
        if callable(compute) and not isinstance(compute, Mapping):
            return _seconds(compute(client, visit), f"compute, client {client!r}")
        if client not in self._speeds:
            self._speeds[client] = self._speed(client)
        return self._speeds[client]

    def link(self, client: ClientId) -> Link:
        """A client's link."""
        if client in self._instant:
            return Link()
        if client not in self._links:
            self._links[client] = self._clock.network.draw(key(self._clock.seed, "link", client))
        return self._links[client]

    def goes(self, client: ClientId, visit: Key) -> float | None:
        """After which share of a visit its client goes away; None where it stays."""
        if not self._clock.dropout or client in self._instant:
            return None
        drawn = Key(self._clock.seed, ("dropout", *visit.path))
        return uniform(drawn.child("when")) if uniform(drawn) < self._clock.dropout else None

    def _speed(self, client: ClientId) -> float:
        compute = self._clock.compute
        if isinstance(compute, Mapping):
            if client not in compute:
                raise UnknownName.among("client in the clock's compute", client, compute)
            return float(compute[client])
        if isinstance(compute, Speeds | LogNormal):
            drawn = compute.draw(key(self._clock.seed, "speed", client))
            return drawn * self._held(client) if isinstance(compute, Speeds) and compute.per_example else drawn
        assert isinstance(compute, int | float)  # noqa: S101 - seen when the clock was made; a function was called
        return float(compute)


def _seconds(number: object, where: str) -> float:
    if not isinstance(number, int | float) or not 0 <= number < math.inf:
        raise ConfigError(f"a visit takes a number of seconds, 0 or more, not {number!r}", where=where)
    return float(number)
