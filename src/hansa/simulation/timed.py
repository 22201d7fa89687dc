"""Visits by a virtual clock: who answers next, and what time it is then.

When a visit ends is known once it begins, so that the visits of a work stand in the order of their ends, and time moves on from
one to the next. A visit that will not answer, or that nobody waits for, is never computed. Ties go by the clients' ids.
This file must not know how a visit is computed, or how devices are drawn.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from hansa.core import tree
from hansa.core.ask import Ask, Closing, Outcome
from hansa.core.gather import Gathered
from hansa.core.ids import LazyIds, union, without
from hansa.core.population import ClientId, Population
from hansa.core.status import Status
from hansa.core.work import visit_key
from hansa.errors import ConfigError
from hansa.simulation.availability import Always
from hansa.simulation.clock import Devices, VirtualClock
from hansa.simulation.visits import MISSED, Asked, Due, ExecutorState, Visit, Visits

AWAY = "it went away"
"""Why a client is dropped that is no longer there."""

NEVER = -math.inf


class Flight(NamedTuple):
    """A visit under way."""

    visit: Asked
    due: Due


@dataclass
class _Asking:
    """The present ask."""

    began: float = 0.0
    enough: float | None = None
    """When its count was reached."""
    taken: list[Flight] = field(default_factory=list)
    """What was taken off the head last, those that went away included."""
    order: dict[ClientId, None] = field(default_factory=dict)
    """Whose visits have ended, in that order."""


class TimedVisits(Visits):
    """See the top of this file, and `Visits`.

    Args:
        clock: how time passes.
        data: what the clients hold.
        seed: of the clients' randomness.
        more: what `Visits` is told besides.

    Raises:
        ConfigError: more clients are to be waited for than there are.

    Attributes:
        now: virtual seconds since the run began.
    """

    def __init__(self, clock: VirtualClock, data: Any, seed: int, *more: Any) -> None:
        super().__init__(data, seed, *more)
        self.now, self._clock = 0.0, clock
        self._devices = Devices(clock, self._everyone.held)
        ids = self._everyone.ids
        self._instant = [each for each in clock.instant if each in ids]
        self._presence = clock.availability.among(without(ids, self._instant), clock.seed)
        self._places = {} if isinstance(ids, LazyIds) else {each: place for place, each in enumerate(ids)}
        self._flights: dict[str, list[Flight]] = {}
        self._asking = _Asking()
        if clock.at_least > (most := self._trainers(self._everyone)):
            raise ConfigError(
                f"the clock waits until {clock.at_least} clients are there, and only {most} have training data",
                hint="lower at_least",
            )

    # --- between two asks

    @property
    def state(self) -> ExecutorState:
        """See `Visits`."""
        flying = {
            work: tuple(Visit(*each.visit, each.due) for each in flights)
            for work, flights in self._flights.items()
            if flights
        }
        return replace(super().state, in_flight=flying, now=self.now)

    def restore(self, state: ExecutorState) -> None:
        """See `Visits`; what was in flight where no time passed arrives now."""
        super().restore(replace(state, in_flight={}))
        self.now, self._asking = state.now or 0.0, _Asking()
        at_once = Due(at=self.now, asked=self.now, computing=0.0, sending=self.now, arriving=self.now)
        self._flights = {
            work: [
                Flight(Asked(each.ask, each.client, each.occurrence, each.attempts), each.due or at_once)
                for each in visits
            ]
            for work, visits in state.in_flight.items()
        }

    def population(self) -> Population:
        """Who is there and not in flight. Time moves on to when `at_least` are there or at work, if they ever will be."""
        busy = {each.visit.client for flights in self._flights.values() for each in flights}
        flying = {work: len(flights) for work, flights in self._flights.items() if flights}
        there = self._there(self.now, busy)
        if not isinstance(self._clock.availability, Always):
            later, now, last = there, self.now, self.now + self._presence.period
            while (few := self._trainers(later) + len(busy) < self._clock.at_least) and now <= last and now < math.inf:
                if (now := self._presence.next(now)) < math.inf:
                    later = self._there(now, busy)
            if not few:
                there, self.now = later, now
        return replace(there, in_flight=flying) if flying else there

    def _there(self, now: float, busy: Collection[ClientId]) -> Population:
        ids: Sequence[ClientId] = self._presence.ids(now)
        if self._instant and isinstance(ids, LazyIds):
            ids = union(ids, self._instant)
        elif self._instant:
            ids = tuple(sorted((*ids, *self._instant), key=self._places.__getitem__))
        return replace(self._everyone, ids=ids).without(busy)

    @staticmethod
    def _trainers(population: Population) -> int:
        """How many have training data, or are there at all where nobody has."""
        return len(population.holding("train")) if population.examples.get("train") else len(population)

    # --- one ask

    def asked(self, ask: Ask) -> None:
        """See `Visits`: the cohort's visits begin now."""
        self._asking = _Asking(self.now)
        flights, up = self._flights.setdefault(ask.work, []), _size(ask)
        for visit in self._new(ask):
            flights.append(self._begun(visit, self._given(ask, visit.client), up))
        flights.sort(key=_order)

    def take(self, ask: Ask, gathered: Gathered) -> list[Asked]:
        """See `Visits`. Time moves on to the end of the last that was taken; who goes away before then has its outcome."""
        self._arrive()
        flights = self._flights[ask.work]
        answering, until = self._limits(ask.closing, gathered.updates, len(flights))
        taken, ended, again = list[Asked](), 0, math.inf
        for flight in flights:
            visit, due = flight
            enough = len(taken) >= answering and due.at > until
            if enough or due.at >= again or (taken and visit.ask is not taken[0].ask):
                break
            ended += 1
            if due.why:
                self._leave(flight, gathered, due.why, due.at)
            else:
                taken.append(visit)
                if visit.attempts <= visit.ask.closing.retries:  # if it fails, it answers before those after it
                    again = min(again, due.at + due.computing)
        self._asking.taken = flights[:ended]
        del flights[:ended]
        return taken

    def put_back(self, visits: Sequence[Asked]) -> None:
        """See `Visits`."""
        taken, self._asking = self._asking.taken, _Asking(self._asking.began)
        for visit in visits[:1]:
            self._flights[visit.ask.work][:0] = taken

    def again(self, visit: Asked) -> None:
        """See `Visits`: it computes once more before it sends."""
        flight = next(each for each in self._asking.taken if each.visit is visit)
        self._asking.taken = [each for each in self._asking.taken if each is not flight]
        due, further = flight.due, flight.due.computing
        later = self._ended(
            visit._replace(attempts=visit.attempts + 1),
            due.asked,
            further,
            due.sending + further,
            due.arriving + further,
        )
        insort(self._flights[visit.ask.work], later, key=_order)

    def close(self, ask: Ask, gathered: Gathered) -> None:
        """See `Visits`."""
        self._arrive()
        flights = self._flights[ask.work]
        if ask.closing.kind != "first" and flights:
            self.now = max(self.now, self._limits(ask.closing, gathered.updates, 0)[1])
            for flight in flights:
                self._leave(flight, gathered, MISSED, self.now)
                self._asking.order[flight.visit.client] = None
            flights.clear()
        gathered.sent -= sum(self._given(ask, each) for each in ask.cohort if each in self._instant)  # it went nowhere
        outcomes = dict(gathered.outcomes)
        gathered.outcomes = {
            client: outcomes.pop(client) for client in self._asking.order if client in outcomes
        } | outcomes

    def forget(self, ask: Ask) -> None:
        """See `Visits`."""
        super().forget(ask)
        self._flights[ask.work] = [each for each in self._flights.get(ask.work, []) if each.visit.ask is not ask]
        self.now, self._asking = self._asking.began, _Asking()

    def is_whole(self, ask: Ask) -> bool:
        """See `Visits`."""
        flights, closing = self._flights[ask.work], ask.closing
        if closing.kind == "first" or closing.grace is not None or closing.retries:
            return False
        asked = {each.visit.client for each in flights if each.visit.ask is ask}
        if len(asked) < len(flights):
            return False
        last = max((each.due.at for each in flights if not each.due.why), default=self.now)
        return closing.deadline is None or last <= self._asking.began + closing.deadline

    def _arrive(self) -> None:
        """Those that were taken last have ended."""
        for flight in self._asking.taken:
            self.now = max(self.now, flight.due.at)
            self._asking.order.setdefault(flight.visit.client)
        self._asking.taken = []

    def _limits(self, closing: Closing, updates: int, flying: int) -> tuple[int, float]:
        """(so many answers are needed whenever they come, others are taken that come until then).

        The second follows `Closing` to the letter: an answer at the very end of a deadline or a grace is in time; where the
        count is reached after the deadline, or without any grace, the ask closes with that update.
        """
        needed = closing.count - updates
        if closing.kind == "all":
            return flying, NEVER
        if closing.kind == "first":
            return needed, NEVER
        deadline = math.inf if closing.deadline is None else self._asking.began + closing.deadline
        if needed > 0:
            return needed, deadline if closing.grace is None else NEVER
        if self._asking.enough is None:
            self._asking.enough = self.now
        enough = self._asking.enough
        if closing.grace == 0 or deadline < enough:
            return 0, NEVER
        return 0, min(deadline, math.inf if closing.grace is None else enough + closing.grace)

    # --- one visit

    @staticmethod
    def _given(ask: Ask, client: ClientId) -> int:
        """Bytes that a client is sent."""
        addressed = ask.inputs.get(client)
        return tree.nbytes(ask.broadcast) + (tree.nbytes(addressed.tree) if addressed else 0)

    def _begun(self, visit: Asked, down: int, up: int) -> Flight:
        """A visit that begins now, and receives and sends so many bytes."""
        client, now = visit.client, self.now
        drawn = visit_key(self._seed, client, visit.ask.round, visit.ask.work, visit.occurrence)
        link, computing = self._devices.link(client), self._devices.seconds(client, drawn)
        sending = now + link.latency + down / link.down + computing
        arriving = sending + up / link.up
        share = self._devices.goes(client, drawn)
        goes = math.inf if share is None else now + share * (arriving - now)
        return self._ended(visit, now, computing, sending, arriving, goes)

    def _ended(
        self, visit: Asked, asked: float, computing: float, sending: float, arriving: float, goes: float = math.inf
    ) -> Flight:
        """A visit with its end: it answers, unless its client goes away or is not waited for so long."""
        client, patience = visit.client, visit.ask.closing.patience
        ends = [(arriving, "")]
        if client not in self._instant:
            ends.append((min(goes, self._presence.until(client, asked)), AWAY))
        if visit.ask.closing.kind == "first" and patience is not None:
            ends.append((asked + patience, f"it did not answer within {patience:g} s"))
        at, why = min(ends, key=lambda end: end[0])  # of equal ones the first: an answer at the last moment counts
        return Flight(visit, Due(at, asked, computing, sending, arriving, why))

    def _leave(self, flight: Flight, gathered: Gathered, why: str, at: float) -> None:
        """A visit ends without an answer; what it had sent by then was sent for nothing."""
        sending, arriving = flight.due.sending, flight.due.arriving
        if at > sending:
            share = 1.0 if at >= arriving else (at - sending) / (arriving - sending)
            gathered.waste(int(_size(flight.visit.ask) * share))
        gathered.outcomes[flight.visit.client] = Outcome(Status.DROPPED, why)


def _order(flight: Flight) -> tuple[float, ClientId]:
    return flight.due.at, flight.visit.client


def _size(ask: Ask) -> int:
    """Bytes of an update."""
    return tree.nbytes(ask.form if ask.form is not None else ask.broadcast)
