"""The sequential executor: one client after the other, in this process. It is the definition that the others are held to."""

from __future__ import annotations

from collections import deque
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
from hansa.simulation.heap import keep_heap
from hansa.simulation.intake import Answer, Intake
from hansa.simulation.station import PlainStation, Station
from hansa.simulation.visits import Asked, ExecutorState, Visits


def nobody_looks(count: int, of: int) -> None:
    """Where nobody wants to know how many have answered."""


class SequentialExecutor:
    """Carries asks out in the order of their cohorts. A deadline never passes.

    Args:
        works: the algorithm's.
        data: what the clients hold.
        seed: of the clients' randomness.
        mode: "reference" computes with one thread, and sums exactly.
        device: where works compute, in the framework's words.
        private: where the clients' private states are kept; unless given, in memory.

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
    ) -> None:
        if mode == "fast":
            keep_heap()
        self._mode, self._threads = mode, Threads(mode)
        self._station: Station = PlainStation(works)
        self._visits = Visits(data, seed, device, private)
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
        return self._carried(ask, self._visits.asked(ask))

    def _carried(self, ask: Ask, queue: deque[Asked]) -> Reply:
        """The visits of a queue, in their order."""
        rule = ask.rule if self._mode == "reference" else rounding(ask.rule)
        intake = Intake(replace(ask, rule=rule), many=self._mode == "fast")
        gathered = intake.gathered
        while queue and not gathered.closed:
            first = queue[0][0]
            most = ask.closing.count - gathered.updates if ask.closing.kind == "first" else len(queue)
            answers = self._answers(first, _leading(queue, first, most), ask.version - first.version)
            for some in intake.take_all(answers):
                self._visits.settle_all(some)
                self.answered(len(gathered.outcomes), len(ask.cohort))
        self._station.rest()
        return gathered.reply()

    def _answers(self, ask: Ask, visits: list[Asked], staleness: int) -> Iterator[Answer]:
        """The answers to visits of one ask, in their order."""
        broadcast = tree.read_only(ask.broadcast)  # a work that wrote to it would change it for the next
        clients = [client for _, client, _ in visits]
        given = self._station.given(ask.work, broadcast, self._contexts(ask, visits))
        return map(Answer._make, zip(clients, given, map(self._visits.held, clients), repeat(staleness), strict=False))

    def _contexts(self, ask: Ask, visits: list[Asked]) -> Iterator[ClientContext]:
        return map(self._visits.contexts(ask), visits)


def _leading(queue: deque[Asked], ask: Ask, most: int) -> list[Asked]:
    """Take visits of one ask off the head of a queue, at most so many."""
    leading: list[Asked] = []
    while queue and len(leading) < most and queue[0][0] is ask:
        leading.append(queue.popleft())
    return leading
