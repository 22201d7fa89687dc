"""Visits: who is asked, in which order, with which randomness and private state. The same book for every executor.

This file must not know how a visit is computed, or where.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from hansa.core import tree
from hansa.core.ask import Ask, Closing, Input, Outcome, Status
from hansa.core.gather import Gathered
from hansa.core.population import ClientId, LazySizes, Population
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, visit_key
from hansa.data import ClientDataset, FederatedData
from hansa.data.schema import Expected
from hansa.simulation.intake import Answer
from hansa.simulation.shard import Shard
from hansa.simulation.states import ClientStates

SPLITS = ("train", "test")

MISSED = "it had not answered when the ask was closed"
"""Why a client is dropped that is not waited for any more."""


@dataclass(frozen=True, slots=True)
class Due:
    """When a visit ends by a virtual clock, in its seconds.

    Attributes:
        at: it answers, or goes away.
        asked: its client was asked.
        computing: so long it computes, once.
        sending: its update begins to travel.
        arriving: its update would be there.
        why: why it goes away; empty where it answers.
    """

    at: float
    asked: float
    computing: float
    sending: float
    arriving: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """One client's part in one ask.

    Attributes:
        ask: the ask.
        client: who is asked.
        occurrence: how often it was asked for the same work in the same round before.
        attempts: how often it has tried, this time included.
        due: when it ends, where time passes.
    """

    ask: Ask
    client: ClientId
    occurrence: int
    attempts: int = 1
    due: Due | None = None


@dataclass(frozen=True)
class ExecutorState:
    """What an executor remembers between two asks: with a `Progress`, all that is needed to go on to the same bits.

    Attributes:
        visits: for each client and work asked in the work's last round how often: (client, work, round, times).
        private: the clients' private states.
        in_flight: the visits whose answers count in a later ask, by work.
        now: virtual seconds since the run began; None where no time passes.
    """

    visits: tuple[tuple[ClientId, str, int, int], ...]
    private: Mapping[ClientId, Tree]
    in_flight: Mapping[str, tuple[Visit, ...]]
    now: float | None = None

    def loaded(self) -> ExecutorState:
        """The same with all private states in memory, to be written down."""
        return replace(self, private=dict(self.private))


class Asked(NamedTuple):
    """A `Visit` as the book keeps it: thousands are made for an ask."""

    ask: Ask
    client: ClientId
    occurrence: int
    attempts: int = 1


@dataclass
class _Round:
    """Of one work, the last round in which it was asked, and how often each client was."""

    number: int
    times: dict[ClientId, int]


_NOTHING = Input()


class Visits:
    """The book of all visits of a simulated run.

    Without a clock, clients answer in the order in which they were asked, and one that tries again after all others; an ask
    that closes on its first k leaves the others in flight, and their updates, computed from the broadcast that they were
    given, count in the next ask of the same work. How it is with one is in `hansa.simulation.timed`.

    Args:
        data: what the clients hold.
        seed: of the clients' randomness.
        device: where works compute.
        private: where the clients' private states are kept.
    """

    def __init__(
        self, data: FederatedData, seed: int, device: str, private: MutableMapping[ClientId, Tree] | None = None
    ) -> None:
        self._data, self._seed, self._device = data, seed, device
        self._everyone = Population(data.clients, {split: data.sizes(split) for split in SPLITS})
        sizes = tuple(self._everyone.examples.values())
        self._announced = None if any(isinstance(each, LazySizes) for each in sizes) else sizes
        self._private: MutableMapping[ClientId, Tree] = {} if private is None else private
        self._in_flight: dict[str, deque[Asked]] = {}
        self._rounds: dict[str, _Round] = {}

    @property
    def state(self) -> ExecutorState:
        """Where it stands between two asks."""
        return ExecutorState(
            tuple((client, w, last.number, n) for w, last in self._rounds.items() for client, n in last.times.items()),
            self._private.snapshot() if isinstance(self._private, ClientStates) else dict(self._private),
            {work: tuple(Visit(*each) for each in queue) for work, queue in self._in_flight.items() if queue},
        )

    def restore(self, state: ExecutorState) -> None:
        """Go on from there."""
        self._rounds = {}
        for client, work, number, times in state.visits:
            self._rounds.setdefault(work, _Round(number, {})).times[client] = times
        self._private.clear()
        self._private.update(state.private)
        self._in_flight = {
            work: deque(Asked(each.ask, each.client, each.occurrence, each.attempts) for each in visits)
            for work, visits in state.in_flight.items()
        }

    def population(self) -> Population:
        """Everyone who is not in flight."""
        busy = {visit.client for queue in self._in_flight.values() for visit in queue}
        flying = {work: len(queue) for work, queue in self._in_flight.items() if queue}
        return replace(self._everyone.without(busy), in_flight=flying) if flying else self._everyone

    # --- one ask

    def asked(self, ask: Ask) -> None:
        """Write a new ask down: its cohort comes after who is in flight already for the same work."""
        self._in_flight.setdefault(ask.work, deque()).extend(self._new(ask))

    def take(self, ask: Ask, gathered: Gathered) -> list[Asked]:
        """The visits that answer next, all of one ask, as many as are certain to be needed; none where the ask is complete.

        Args:
            ask: the present ask.
            gathered: what has come of it, of all visits that were taken before.
        """
        queue, taken = self._in_flight[ask.work], list[Asked]()
        most = ask.closing.count - gathered.updates if _counts(ask.closing) else len(queue)
        first = queue[0][0] if queue else ask
        while queue and len(taken) < most and queue[0][0] is first:
            taken.append(queue.popleft())
        return taken

    def put_back(self, visits: Sequence[Asked]) -> None:
        """Those that were taken last, as if they had not been."""
        for visit in reversed(visits):
            self._in_flight[visit.ask.work].appendleft(visit)

    def again(self, visit: Asked) -> None:
        """A visit whose work failed, and that tries again."""
        self._in_flight[visit.ask.work].append(visit._replace(attempts=visit.attempts + 1))

    def close(self, ask: Ask, gathered: Gathered) -> None:
        """The ask is complete: who has not answered goes on, or is not waited for any more."""
        queue = self._in_flight[ask.work]
        if ask.closing.kind != "first":
            for visit in queue:
                gathered.outcomes[visit.client] = Outcome(Status.DROPPED, MISSED)
            queue.clear()

    def forget(self, ask: Ask) -> None:
        """An ask that could not be carried out to its end, as if it had not been asked."""
        queue = self._in_flight.get(ask.work, deque[Asked]())
        self._in_flight[ask.work] = deque(visit for visit in queue if visit.ask is not ask)
        for client in ask.cohort:
            self._rounds[ask.work].times[client] -= 1

    def is_whole(self, ask: Ask) -> bool:
        """Whether everyone asked is of this ask, asked once, and waited for, whatever the others give."""
        queue = self._in_flight[ask.work]
        return (
            not _counts(ask.closing)
            and all(visit.ask is ask for visit in queue)
            and len({visit.client for visit in queue}) == len(queue)
        )

    def _new(self, ask: Ask) -> list[Asked]:
        """The visits of an ask's cohort."""
        last = self._rounds.setdefault(ask.work, _Round(ask.round, {}))
        if last.number != ask.round:  # rounds never go back, so that only the last is remembered
            last.number, last.times = ask.round, {}
        times, visits = last.times, list[Asked]()
        for client in ask.cohort:
            occurrence = times.get(client, 0)
            times[client] = occurrence + 1
            visits.append(Asked(ask, client, occurrence, 1))
        return visits

    # --- one visit

    def contexts(self, ask: Ask) -> Callable[[Asked], ClientContext]:
        """What makes the contexts of an ask's visits; data are loaded when a work looks at them."""
        data, seed, device = self._data, self._seed, self._device
        private = self._private if len(self._private) else None
        inputs, settings, round_, work = ask.inputs, ask.settings, ask.round, ask.work

        def context(visit: Asked) -> ClientContext:
            _, client, occurrence, _ = visit
            addressed = inputs.get(client, _NOTHING) if inputs else _NOTHING
            state = None if private is None else private.get(client)
            return ClientContext(
                client,
                Shard(data, client),
                round_,
                visit_key(seed, client, round_, work, occurrence),
                {**settings, **addressed.settings} if addressed.settings else settings,
                tree.read_only(addressed.tree) if addressed.tree else {},
                tree.read_only(state) if state else {},
                device,
            )

        return context

    def stored(self, client: ClientId) -> tuple[dict[str, ClientDataset], Expected]:
        """(a client's splits as they are stored, what they are to be compared with), for who works elsewhere.

        Raises:
            HansaError: as `FederatedData.shard`.
        """
        return self._data.unchecked(client), self._data.expected

    def held(self, client: ClientId) -> int | None:
        """How many examples a client announced; None where nobody knows without loading them."""
        if self._announced is None:
            return None
        count = 0
        for sizes in self._announced:
            count += sizes.get(client, 0)
        return count

    def settle(self, client: ClientId, outcome: Outcome, state: Tree | None) -> None:
        """The state that follows from an answer becomes the client's if the answer counted."""
        if state is not None and outcome.status is Status.UPDATED:
            self._private[client] = state

    def settle_all(self, settled: list[tuple[Answer, Outcome]]) -> None:
        """The same for many answers. Empties the list: nothing holds an update while the next is computed."""
        while settled:
            answer, outcome = settled.pop()
            self.settle(answer.client, outcome, getattr(answer.given, "state", None))


def _counts(closing: Closing) -> bool:
    """Whether it closes at once when it has its count: no time passes in which others could answer."""
    return closing.kind == "first" or (closing.kind == "quorum" and closing.grace == 0)
