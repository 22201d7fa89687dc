"""The sequential executor: one client after the other, in this process. It is the definition that the others are held to."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hansa.core import tree
from hansa.core.ask import Ask, Input, Outcome, Reply, Status
from hansa.core.gate import as_update, refusal
from hansa.core.keys import key
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId, Population
from hansa.core.private import PrivateState
from hansa.core.work import ClientContext, Update, Work
from hansa.data import FederatedData
from hansa.errors import AggregationError, HansaError, InputError
from hansa.simulation.reference import Mode, threads

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
        self._works, self._data, self._seed, self._mode, self._device = works, data, seed, mode, device
        self._everyone = Population(tuple(data.clients), {split: data.sizes(split) for split in SPLITS})
        self._in_flight: dict[str, deque[Visit]] = {}
        self._visits: Counter[tuple[ClientId, int, str]] = Counter()
        self._private: dict[ClientId, PrivateState] = {}

    def population(self) -> Population:
        """Everyone who is not in flight."""
        return self._everyone.without({visit.client for queue in self._in_flight.values() for visit in queue})

    def execute(self, ask: Ask) -> Reply:
        """Carry one ask out."""
        with threads(self._mode):
            return self._execute(ask)

    def _execute(self, ask: Ask) -> Reply:
        ask = replace(
            ask, broadcast=tree.read_only(ask.broadcast)
        )  # a work that wrote to it would change it for the next
        queue = self._in_flight.setdefault(ask.work, deque())
        queue.extend(self._visit(ask, client) for client in ask.cohort)
        gathered = _Gathered(ask)
        try:
            while queue and not gathered.closed:
                visit = queue.popleft()
                outcome = gathered.add(visit.client, *self._answer(visit, ask.version))
                self._settle(visit, outcome)
            return gathered.reply()
        except AggregationError as failure:
            return Reply({}, gathered.metrics, gathered.outcomes, ask.work, failure)

    def _visit(self, ask: Ask, client: ClientId) -> Visit:
        before = (client, ask.round, ask.work)
        self._visits[before] += 1
        return Visit(ask, client, self._visits[before] - 1)

    def _answer(self, visit: Visit, version: int) -> tuple[Outcome, Update | None]:
        """What the client gives, and what becomes of it before it meets the others."""
        try:
            update = as_update(self._works[visit.ask.work](visit.ask.broadcast, self._context(visit)))
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - a client's code may raise anything; it is its outcome
            said = problem.line if isinstance(problem, HansaError) else problem
            return Outcome(Status.FAILED, f"{type(problem).__name__}: {said}", cause=problem), None
        private = self._private.get(visit.client, PrivateState())
        if update.state is not None:
            self._private[visit.client] = private.propose(visit.id, update)
        if (why := refusal(update, visit.ask.form)) is not None:
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
            key=key(self._seed, "client", client, ask.round, ask.work, visit.occurrence),
            settings={**ask.settings, **addressed.settings},
            inputs=tree.read_only(addressed.tree),
            state=tree.read_only(self._private.get(client, PrivateState()).current),
            device=self._device,
        )


class _Gathered:
    """What has come of one ask so far."""

    def __init__(self, ask: Ask) -> None:
        self._ask, self._accumulator, self._updates = ask, ask.rule.zero(), 0
        self.metrics, self.outcomes = Metrics(), dict[ClientId, Outcome]()

    @property
    def closed(self) -> bool:
        """Whether enough has come, although clients are still at work."""
        return self._ask.closing.kind == "first" and self._updates == self._ask.closing.count

    def add(self, client: ClientId, outcome: Outcome, update: Update | None) -> Outcome:
        """Take a client's outcome, and its update if it goes with those before it. Returns the outcome that it is then."""
        if update is not None:
            try:
                self._ask.rule.check(self._accumulator, update)
                metrics = self.metrics.merge(update.metrics)
            except (InputError, AggregationError) as misfit:
                outcome = replace(outcome, status=Status.REJECTED, why=misfit.what, weight=0.0)
            else:
                self._accumulator = self._ask.rule.accumulate(self._accumulator, update)
                self.metrics, self._updates = metrics, self._updates + 1
        self.outcomes[client] = outcome
        return outcome

    def reply(self) -> Reply:
        """All of it. Raises `AggregationError` where updates came but have no aggregate."""
        aggregate = self._ask.rule.finish(self._accumulator) if self._updates else {}
        return Reply(aggregate, self.metrics, self.outcomes, self._ask.work)
