"""The sequential executor: one client after the other, in this process. It is the definition that the others are held to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hansa.core import tree
from hansa.core.ask import Ask, Input, Outcome, Reply, Status
from hansa.core.gate import as_update, refusal
from hansa.core.gather import Gathered
from hansa.core.population import ClientId, Population
from hansa.core.private import PrivateState
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, Work, visit_key
from hansa.data import FederatedData
from hansa.errors import HansaError
from hansa.experiment.reference import Mode, Threads

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Visit:
    """One client's part in one ask; `occurrence` counts its visits for the same work in the same round, from 0."""

    ask: Ask
    client: ClientId
    occurrence: int

    @property
    def id(self) -> str:
        """Names the visit among all of its client's."""
        return f"{self.ask.round}/{self.ask.work}/{self.occurrence}"


@dataclass(frozen=True)
class ExecutorState:
    """What an executor remembers between two asks: with a `Progress`, all that is needed to go on to the same bits.

    Attributes:
        visits: for each client and work the last round in which it was asked, and how often: (client, work, round, times).
        private: the clients' private states.
        in_flight: the visits whose answers count in a later ask, by work.
    """

    visits: tuple[tuple[ClientId, str, int, int], ...]
    private: Mapping[ClientId, Tree]
    in_flight: Mapping[str, tuple[Visit, ...]]


def _nobody_looks(count: int, of: int) -> None:
    """Where nobody wants to know how many have answered."""


class SequentialExecutor:
    """Carries asks out in the order of their cohorts.

    Without a clock, clients answer in the order in which they were asked; an ask that closes on its first k leaves the others
    in flight, and their updates, computed from the broadcast that they were given, count in the next ask of the same work. A
    deadline never passes.

    Args:
        works: the algorithm's.
        data: what the clients hold.
        seed: of the clients' randomness.
        mode: "reference" computes with one thread.
        device: where works compute, in the framework's words.

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
    ) -> None:
        self._works, self._data, self._seed, self._device = works, data, seed, device
        self._threads = Threads(mode)
        self._everyone = Population(tuple(data.clients), {split: data.sizes(split) for split in SPLITS})
        self.answered: Callable[[int, int], None] = _nobody_looks
        self._in_flight: dict[str, deque[Visit]] = {}
        self._visits: dict[tuple[ClientId, str], tuple[int, int]] = {}
        self._private: dict[ClientId, PrivateState[Tree, Update]] = {}

    @property
    def state(self) -> ExecutorState:
        """Where it stands between two asks."""
        return ExecutorState(
            tuple((*asked, *last) for asked, last in self._visits.items()),
            {client: private.current for client, private in self._private.items()},
            {work: tuple(queue) for work, queue in self._in_flight.items() if queue},
        )

    def restore(self, state: ExecutorState) -> None:
        """Go on from there."""
        self._visits = {(client, work): (round_, times) for client, work, round_, times in state.visits}
        self._private = {client: PrivateState[Tree, Update](tree) for client, tree in state.private.items()}
        self._in_flight = {work: deque(visits) for work, visits in state.in_flight.items()}

    def population(self) -> Population:
        """Everyone who is not in flight."""
        return self._everyone.without({visit.client for queue in self._in_flight.values() for visit in queue})

    def execute(self, ask: Ask) -> Reply:
        """Carry one ask out."""
        with self._threads.held():
            return self._execute(ask)

    def _execute(self, ask: Ask) -> Reply:
        ask = replace(
            ask, broadcast=tree.read_only(ask.broadcast)
        )  # a work that wrote to it would change it for the next
        queue = self._in_flight.setdefault(ask.work, deque())
        queue.extend(self._visit(ask, client) for client in ask.cohort)
        gathered = Gathered(ask)
        while queue and not gathered.closed:
            visit = queue.popleft()
            outcome = gathered.add(visit.client, *self._answer(visit, ask.version))
            self._settle(visit, outcome)
            self.answered(len(gathered.outcomes), len(ask.cohort))
        return gathered.reply()

    def _visit(self, ask: Ask, client: ClientId) -> Visit:
        round_, times = self._visits.get((client, ask.work), (ask.round, 0))
        occurrence = times if round_ == ask.round else 0
        self._visits[client, ask.work] = ask.round, occurrence + 1
        return Visit(ask, client, occurrence)

    def _answer(self, visit: Visit, version: int) -> tuple[Outcome, Update | None]:
        """What the client gives, and what becomes of it before it meets the others."""
        try:
            update = as_update(self._works[visit.ask.work](visit.ask.broadcast, self._context(visit)))
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - a client's code may raise anything; it is its outcome
            said = problem.line if isinstance(problem, HansaError) else problem
            return Outcome(Status.FAILED, f"{type(problem).__name__}: {said}", cause=problem), None
        private = self._private.get(visit.client, PrivateState[Tree, Update]({}))
        if update.state is not None:
            self._private[visit.client] = private.propose(visit.id, update)
        if (why := refusal(update, visit.ask.form, self._everyone.held(visit.client))) is not None:
            return Outcome(Status.REJECTED, why, metrics=update.metrics), None
        staleness = version - visit.ask.version
        sent = replace(update, state=None, client=visit.client, staleness=staleness)
        return Outcome(Status.UPDATED, weight=float(update.weight), metrics=update.metrics), sent

    def _settle(self, visit: Visit, outcome: Outcome) -> None:
        if visit.client in self._private:
            self._private[visit.client] = self._private[visit.client].settle(visit.id, outcome.status)

    def _context(self, visit: Visit) -> ClientContext:
        ask, client = visit.ask, visit.client
        addressed = ask.inputs.get(client, Input())
        return ClientContext(
            id=client,
            data=self._data.shard(client),
            round=ask.round,
            key=visit_key(self._seed, client, ask.round, ask.work, visit.occurrence),
            settings={**ask.settings, **addressed.settings},
            inputs=tree.read_only(addressed.tree),
            state=tree.read_only(self._private[client].current if client in self._private else {}),
            device=self._device,
        )
