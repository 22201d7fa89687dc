"""What has come of one ask so far: updates become one by the ask's rule, and every client gets its outcome.

This file must not know how updates arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hansa.core import tree
from hansa.core.ask import Ask, Outcome, Reply, Status
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId
from hansa.core.work import Update
from hansa.errors import AggregationError, InputError


class Gathered:
    """What has come of one ask so far.

    Attributes:
        accumulator: what the ask's rule keeps of the updates that count.
        updates: how many they are.
        sent: bytes of the arrays that clients were given.
        received: bytes of the arrays of all updates that came, whether they count or not.
        wasted: those of them that do not count.
        metrics: theirs, merged.
        outcomes: what became of each client.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask, self.accumulator, self.updates = ask, ask.rule.zero(), 0
        addressed = sum(tree.nbytes(each.tree) for each in ask.inputs.values())
        self.sent = len(ask.cohort) * tree.nbytes(ask.broadcast) + addressed
        self.received = self.wasted = 0
        self.metrics, self.outcomes = Metrics(), dict[ClientId, Outcome]()

    @property
    def closed(self) -> bool:
        """Whether enough has come, although clients are still at work."""
        return self._ask.closing.kind == "first" and self.updates == self._ask.closing.count

    def add(self, client: ClientId, outcome: Outcome, update: Update | None) -> Outcome:
        """Take a client's outcome, and its update if it goes with those before it. Returns the outcome that it is then."""
        if update is not None:
            size = tree.nbytes(update.tree)
            self.received += size
            try:
                self._ask.rule.check(self.accumulator, update)
                metrics = self.metrics.merge(update.metrics)
            except (InputError, AggregationError) as misfit:
                outcome = replace(outcome, status=Status.REJECTED, why=misfit.what, weight=0.0)
                self.wasted += size
            else:
                self.accumulator = self._ask.rule.accumulate(self.accumulator, update)
                self.metrics, self.updates = metrics, self.updates + 1
        self.outcomes[client] = outcome
        return outcome

    def waste(self, size: int) -> None:
        """So many bytes came of updates that do not count."""
        self.received += size
        self.wasted += size

    @property
    def takes_many(self) -> bool:
        """Whether the ask's rule accumulates many updates at once."""
        return hasattr(self._ask.rule, "accumulate_all") and self._ask.closing.kind != "first"

    def add_all(self, clients: Sequence[ClientId], updates: Sequence[Update]) -> None:
        """Take many updates of the ask's form at once, none of which is refused, by a rule that `takes_many`."""
        rule: Any = self._ask.rule
        metrics, outcomes, same = self.metrics, self.outcomes, Outcome(Status.UPDATED)
        for client, update in zip(clients, updates, strict=True):
            if len(update.metrics):
                metrics = metrics.merge(update.metrics)
                same = Outcome(Status.UPDATED, "", float(update.weight), update.metrics)
            elif same.weight != update.weight or same.metrics:  # else one value serves them all
                same = Outcome(Status.UPDATED, "", float(update.weight))
            outcomes[client] = same
        self.accumulator = rule.accumulate_all(self.accumulator, updates)
        self.metrics, self.updates = metrics, self.updates + len(updates)
        self.received += len(updates) * tree.nbytes(updates[0].tree)

    def merge(self, other: Gathered) -> None:
        """What others gathered of the same ask."""
        self.metrics = self.metrics.merge(other.metrics)
        self.accumulator = self._ask.rule.merge(self.accumulator, other.accumulator)
        self.updates += other.updates
        self.received += other.received
        self.wasted += other.wasted
        self.outcomes.update(other.outcomes)

    def reply(self) -> Reply:
        """All of it. Where updates came but have no aggregate, the reply says why."""
        ask, aggregate, failure = self._ask, dict[str, tree.Array](), None
        try:
            aggregate = ask.rule.finish(self.accumulator) if self.updates else aggregate
        except AggregationError as problem:
            failure = problem
        sizes = self.sent, self.received, self.wasted
        return Reply(aggregate, self.metrics, self.outcomes, ask.work, ask.settings, failure, *sizes)
