"""What has come of one ask so far: updates become one by the ask's rule, and every client gets its outcome.

This file must not know how updates arrive.
"""

from __future__ import annotations

from dataclasses import replace

from hansa.core.ask import Ask, Outcome, Reply, Status
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId
from hansa.core.work import Update
from hansa.errors import AggregationError, InputError


class Gathered:
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
        """All of it. Where updates came but have no aggregate, the reply says why."""
        try:
            aggregate = self._ask.rule.finish(self._accumulator) if self._updates else {}
        except AggregationError as failure:
            return Reply({}, self.metrics, self.outcomes, self._ask.work, self._ask.settings, failure)
        return Reply(aggregate, self.metrics, self.outcomes, self._ask.work, self._ask.settings)
