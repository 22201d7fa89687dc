"""Between the Director and its Envoys: sessions of frames, and transfers. Here frames are lost, doubled, overtaken and late.

This file must not know what frames say, but that they pass as bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hansa.protocol import wire
from hansa.testing.world.clock import Clock
from hansa.testing.world.plan import Faults

Receiver = Callable[[Any], None]


class Session:
    """One connection of an Envoy.

    Attributes:
        envoy: whose.
        number: a later one has a higher number.
        here: the Director's end stands.
        there: the Envoy's end stands.
    """

    def __init__(self, network: Network, envoy: str, number: int, to_director: Receiver, to_envoy: Receiver) -> None:
        self.envoy, self.number = envoy, number
        self.here = self.there = True
        self._network = network
        self._receivers = {"director": to_director, "envoy": to_envoy}
        self._last = {"director": 0.0, "envoy": 0.0}

    def send(self, to: str, message: Any) -> None:
        """Send to the "director" or to the "envoy"; whether it arrives, and when, nobody knows."""
        network = self._network
        data = wire.encode(message)
        if network.strikes(network.faults.cut):
            self.cut()
        if self.envoy in network.apart or network.strikes(network.faults.drop):
            return
        now = network.clock.now
        arrival = max(self._last[to], now + network.rng.uniform(0.01, 0.3))
        if network.strikes(network.faults.reorder):
            arrival += network.rng.uniform(0.1, 5.0)
        else:
            self._last[to] = arrival
        network.clock.after(arrival - now, self._arrives, to, data)
        if network.strikes(network.faults.double):
            network.clock.after(arrival - now + network.rng.choice((0.1, 5.0, 60.0)), self._arrives, to, data)

    def cut(self) -> None:
        """Break it: both ends notice, the Director's perhaps late."""
        network = self._network
        network.clock.after(network.rng.uniform(0.0, 3.0), self._ends, "envoy")
        network.clock.after(network.rng.choice((0.1, 2.0, 30.0)), self._ends, "director")

    def _ends(self, end: str) -> None:
        if end == "envoy" and self.there:
            self.there = False
            self._receivers["envoy"](None)
        if end == "director" and self.here:
            self.here = False
            self._receivers["director"](None)

    def _arrives(self, to: str, data: bytes) -> None:
        if self.envoy not in self._network.apart:
            self._receivers[to](wire.decode(data))


class Network:
    """All of it.

    Attributes:
        apart: the Envoys that are cut off.
    """

    def __init__(self, clock: Clock, rng: random.Random, faults: Faults, strikes: Callable[[float], bool]) -> None:
        self.clock, self.rng, self.faults, self.strikes = clock, rng, faults, strikes
        self.apart: set[str] = set()
        self.sessions: dict[str, Session] = {}
        self._count = 0

    def dial(self, envoy: str, to_director: Receiver, to_envoy: Receiver) -> Session:
        """A new session; an older one of this Envoy is over for it."""
        self._count += 1
        self.sessions[envoy] = Session(self, envoy, self._count, to_director, to_envoy)
        return self.sessions[envoy]

    def isolate(self, envoy: str) -> None:
        """Cut an Envoy off."""
        self.apart.add(envoy)
        if envoy in self.sessions:
            self.sessions[envoy].cut()

    def rejoin(self, envoy: str) -> None:
        """The end of that."""
        self.apart.discard(envoy)

    def call(self, envoy: str, act: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Let the Director do something and answer with what comes of it: None where there was no answer."""
        lost = envoy in self.apart or self.strikes(self.faults.drop)
        slow = self.strikes(self.faults.slow)
        delay = self.rng.uniform(2.0, 20.0) if slow else self.rng.uniform(0.05, 0.5)
        self.clock.after(delay, lambda: then(None) if lost else self._back(envoy, act(), then))

    def _back(self, envoy: str, answer: Any, then: Callable[[Any], None]) -> None:
        lost = envoy in self.apart or self.strikes(self.faults.drop)
        self.clock.after(self.rng.uniform(0.05, 0.5), then, None if lost else answer)
        if not lost and self.strikes(self.faults.double):  # it was called again, since the answer took so long
            self.clock.after(self.rng.uniform(0.5, 5.0), then, answer)
