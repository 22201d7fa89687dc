"""When clients are there: always, by day or by night, or as a trace says.

An availability is a value; `among` makes of it the `Presence` of one population. Clients of a population that nobody lists are
not looked at one by one. This file must not know who is asked, or what time it is now.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from hansa.core.ids import LazyIds, without
from hansa.core.keys import key
from hansa.core.population import ClientId
from hansa.errors import ConfigError
from hansa.simulation.dealt import Dealt

PHASES = 1024
"""The times at which clients' days begin: so many, spread evenly over the period."""


class Presence(Protocol):
    """When the clients of one population are there. Times are virtual seconds from the beginning of the run.

    Attributes:
        period: after so many seconds all is as it was; inf where it never is.
    """

    period: float

    def ids(self, now: float) -> Sequence[ClientId]:
        """Who is there, in the population's order; lazy where that is."""
        ...

    def until(self, client: ClientId, now: float) -> float:
        """When a client goes away that is there now, or inf; `now` where it is not there."""
        ...

    def next(self, now: float) -> float:
        """The next time, after now, at which anybody may come; inf where nobody will."""
        ...


class Availability(Protocol):
    """When clients are there."""

    def among(self, ids: Sequence[ClientId], seed: int) -> Presence:
        """When the clients of a population are; the same for the same ids and seed."""
        ...


@dataclass(frozen=True)
class Always:
    """Everyone is always there."""

    def among(self, ids: Sequence[ClientId], seed: int) -> Presence:  # noqa: ARG002 - the port's signature
        """See `Availability`."""
        return _Always(ids)


@dataclass(frozen=True)
class Diurnal:
    """Each client is there for a share of every day, from an hour of its own: devices that charge at night, all over the world.

    The hours are dealt evenly, in an order drawn by the clock's seed, to positions in the population; so of a population that
    nobody lists it is known who is there without looking at each.

    Attributes:
        period: seconds of a day.
        share: of the day that a client is there, in (0, 1].
        phases: when in the day, as a share of it in [0, 1), single clients come instead; those of a listed population only.

    Raises:
        ConfigError: the period is not positive, the share not in (0, 1], or a phase not in [0, 1).
    """

    period: float = 86_400.0
    share: float = 0.5
    phases: Mapping[ClientId, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.period < math.inf:
            raise ConfigError(f"a day's period is a positive number of seconds, not {self.period}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"the share of a day that clients are there lies in (0, 1], not {self.share}")
        for client, phase in self.phases.items():
            if not 0 <= phase < 1:
                raise ConfigError(f"a phase is a share of the day in [0, 1), not {phase}", where=f"client {client!r}")

    def among(self, ids: Sequence[ClientId], seed: int) -> Presence:
        """See `Availability`. Raises ConfigError for phases of single clients where nobody lists the clients."""
        if isinstance(ids, LazyIds) and self.phases:
            raise ConfigError(
                f"the phases of single clients are given, and nobody lists the {len(ids):,} clients",
                hint="leave phases out, and they are dealt",
            )
        return _Diurnal(self, ids, key(seed, "phase").generator().permutation(PHASES))


@dataclass(frozen=True)
class Trace:
    """As it was recorded: each client's times of presence.

    Attributes:
        times: for each client the pairs (from, to) in virtual seconds, in order, none overlapping; one that is absent here is
            always there.

    Raises:
        ConfigError: a client's times overlap or are not in order.
    """

    times: Mapping[ClientId, Sequence[tuple[float, float]]]

    def __post_init__(self) -> None:
        for client, pairs in self.times.items():
            ends = [end for pair in pairs for end in pair]
            if ends != sorted(ends) or any(begin == end for begin, end in pairs):
                raise ConfigError(
                    "times of presence are pairs (from, to) in order that do not overlap", where=f"client {client!r}"
                )

    def among(self, ids: Sequence[ClientId], seed: int) -> Presence:  # noqa: ARG002 - the port's signature
        """See `Availability`."""
        return _Traced(self, ids)


class _Always:
    period = math.inf

    def __init__(self, ids: Sequence[ClientId]) -> None:
        self._ids = ids

    def ids(self, now: float) -> Sequence[ClientId]:  # noqa: ARG002 - the port's signature
        return self._ids

    def until(self, client: ClientId, now: float) -> float:  # noqa: ARG002 - the port's signature
        return math.inf

    def next(self, now: float) -> float:  # noqa: ARG002 - the port's signature
        return math.inf


class _Diurnal:
    """Clients in groups of one phase each: the position p of the population is in group `p mod PHASES`."""

    def __init__(
        self, day: Diurnal, ids: Sequence[ClientId], order: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> None:
        self._day, self._everyone, self.period = day, ids, day.period
        self._phases = order / PHASES
        self._listed = None if isinstance(ids, LazyIds) else np.array(ids, object)
        if self._listed is not None:
            dealt = self._phases[np.arange(len(ids)) % PHASES]
            own = [(place, day.phases[each]) for place, each in enumerate(ids) if each in day.phases]
            for place, phase in own:
                dealt[place] = phase
            self._phases = dealt

    @cached_property
    def _places(self) -> dict[ClientId, int]:
        return {each: place for place, each in enumerate(self._everyone)}

    def ids(self, now: float) -> Sequence[ClientId]:
        there = self._since(now) < self._day.share
        if self._listed is not None:
            return tuple(self._listed[there].tolist())
        assert isinstance(self._everyone, LazyIds)  # noqa: S101 - otherwise they are listed
        return Dealt(self._everyone, there)

    def until(self, client: ClientId, now: float) -> float:
        since = float((now / self._day.period - self._phases[self._place(client)]) % 1.0)
        return max(now, now + (self._day.share - since) * self._day.period) if since < self._day.share else now

    def next(self, now: float) -> float:
        if self._day.share == 1 or not len(self._phases):
            return math.inf
        left = float((1.0 - self._since(now)).min()) * self._day.period
        return max(math.nextafter(now, math.inf), now + left)

    def _since(self, now: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The share of a day since each came last."""
        since: np.ndarray[tuple[int], np.dtype[np.float64]] = (now / self._day.period - self._phases) % 1.0
        return since

    def _place(self, client: ClientId) -> int:
        if self._listed is not None:
            return self._places[client]
        return self._everyone.index(client) % PHASES


class _Traced:
    period = math.inf

    def __init__(self, trace: Trace, ids: Sequence[ClientId]) -> None:
        self._everyone, self._times = (
            ids,
            {client: list(pairs) for client, pairs in trace.times.items() if client in ids},
        )
        self._begins = {client: [begin for begin, _ in pairs] for client, pairs in self._times.items()}
        self._coming = sorted({begin for begins in self._begins.values() for begin in begins})

    def ids(self, now: float) -> Sequence[ClientId]:
        gone: Collection[ClientId] = frozenset(each for each in self._times if self.until(each, now) <= now)
        return without(self._everyone, gone)

    def until(self, client: ClientId, now: float) -> float:
        if client not in self._times:
            return math.inf
        last = bisect_right(self._begins[client], now) - 1
        return max(now, self._times[client][last][1]) if last >= 0 else now

    def next(self, now: float) -> float:
        after = bisect_right(self._coming, now)
        return self._coming[after] if after < len(self._coming) else math.inf
