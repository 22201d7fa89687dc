"""The sequential executor: one client after the other, in this process. It is the definition that the others are held to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from itertools import repeat

from hansa.core import tree
from hansa.core.ask import Ask, Reply
from hansa.core.population import ClientId, Population
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Work
from hansa.data import FederatedData
from hansa.experiment.reference import Mode, Threads
from hansa.rules.compose import rounding
from hansa.simulation.clock import VirtualClock
from hansa.simulation.heap import keep_heap
from hansa.simulation.intake import Answer, Intake, has_failed
from hansa.simulation.station import PlainStation, Station
from hansa.simulation.timed import TimedVisits
from hansa.simulation.visits import Asked, ExecutorState, Visits


def nobody_looks(count: int, of: int) -> None:
    """Where nobody wants to know how many have answered."""


class SequentialExecutor:
    """Carries asks out, in the order of their cohorts, or by a virtual clock; without one a deadline never passes.

    Args:
        works: the algorithm's.
        data: what the clients hold.
        seed: of the clients' randomness.
        mode: "reference" computes with one thread, and sums exactly.
        device: where works compute, in the framework's words.
        private: where the clients' private states are kept; unless given, in memory.
        clock: how virtual time passes.

    Attributes:
        answered: is told how many clients of the present ask have answered, and of how many.
    """

    def __init__(
        self,
        works: Mapping[str, Work],
        data: FederatedData,
        seed: int,
        *,
        mode: Mode = "reference",
        device: str = "cpu",
        private: MutableMapping[ClientId, Tree] | None = None,
        clock: VirtualClock | None = None,
    ) -> None:
        if mode == "fast":
            keep_heap()
        self._mode, self._threads = mode, Threads(mode)
        self._station: Station = PlainStation(works)
        self._visits = (
            Visits(data, seed, device, private) if clock is None else TimedVisits(clock, data, seed, device, private)
        )
        self.answered: Callable[[int, int], None] = nobody_looks

    @property
    def state(self) -> ExecutorState:
        """Where it stands between two asks."""
        return self._visits.state

    def restore(self, state: ExecutorState) -> None:
        """Go on from there."""
        self._visits.restore(state)

    def population(self) -> Population:
        """Everyone who is not in flight."""
        return self._visits.population()

    def seconds(self) -> float:
        """What time it is, from any origin: virtual seconds since the run began where there is a clock for them."""
        return self._visits.now if isinstance(self._visits, TimedVisits) else time.perf_counter()

    @property
    def chosen(self) -> Mapping[str, str]:
        """How it computes, where that is a matter of choice, for the History."""
        return {f"engine {work}": engine for work, engine in self._station.chosen.items()}

    def close(self) -> None:
        """Nothing is held beyond an ask."""

    def execute(self, ask: Ask) -> Reply:
        """Carry one ask out."""
        with self._threads.held():
            return self._execute(ask)

    def _execute(self, ask: Ask) -> Reply:
        try:
            self._visits.asked(ask)
            return self._carried(ask)
        except BaseException:
            self._visits.forget(ask)  # who goes on from here asks it once more
            raise

    def _carried(self, ask: Ask) -> Reply:
        """An ask that is written down, one visit after the other, as they answer."""
        rule = ask.rule if self._mode == "reference" else rounding(ask.rule)
        intake = Intake(replace(ask, rule=rule), many=self._mode == "fast")
        gathered = intake.gathered
        while visits := self._visits.take(ask, gathered):
            first = visits[0].ask
            answers = self._answers(first, visits, ask.version - first.version)
            for some in intake.take_all(self._tried(visits, answers) if first.closing.retries else answers):
                self._visits.settle_all(some)
                self.answered(len(gathered.outcomes), len(ask.cohort))
        self._visits.close(ask, gathered)
        self._station.rest()
        return gathered.reply()

    def _tried(self, visits: list[Asked], answers: Iterator[Answer]) -> Iterator[Answer]:
        """The answers but those of clients that are to try again."""
        for visit, answer in zip(visits, answers, strict=True):
            if visit.attempts <= visit.ask.closing.retries and has_failed(answer.given):
                self._visits.again(visit)
            else:
                yield answer._replace(attempts=visit.attempts)

    def _answers(self, ask: Ask, visits: list[Asked], staleness: int) -> Iterator[Answer]:
        """The answers to visits of one ask, in their order."""
        broadcast = tree.read_only(ask.broadcast)  # a work that wrote to it would change it for the next
        clients = [client for _, client, _, _ in visits]
        given = self._station.given(ask.work, broadcast, self._contexts(ask, visits))
        held = map(self._visits.held, clients)
        return map(Answer._make, zip(clients, given, held, repeat(staleness), repeat(1), strict=False))

    def _contexts(self, ask: Ask, visits: list[Asked]) -> Iterator[ClientContext]:
        return map(self._visits.contexts(ask), visits)
