"""Dependable: any algorithm, which for a while asks nobody who has let it down again and again. A combinator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hansa.core.ask import Ask, FederatedAlgorithm, Outcome, Reply, Status
from hansa.core.population import ClientId, Population
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.errors import CohortTooLarge, ConfigError


@dataclass(frozen=True)
class Rest:
    """A client that is not asked: until which round, that one included, and why."""

    until: int
    why: str


@dataclass(frozen=True)
class DependableState:
    """Where it stands.

    Attributes:
        inner: the inner algorithm's state.
        strikes: of each client whose last asks came to nothing, how many in a row.
        resting: who is left out.
    """

    inner: Any
    strikes: Mapping[ClientId, int] = field(default_factory=dict)
    resting: Mapping[ClientId, Rest] = field(default_factory=dict)


@dataclass(frozen=True)
class Dependable:
    """Leave clients out for some rounds whose last asks in a row failed, were rejected, dropped or late.

    A client that gives a usable update is forgiven all before it; one that has rested begins anew. Who is left out, and why, is
    in each entry's `left_out` of the History. Where the others are too few for what the algorithm asks, nobody is left out.

    Attributes:
        inner: the algorithm.
        strikes: after so many asks in a row that came to nothing a client rests.
        rest: for so many rounds.
    """

    inner: FederatedAlgorithm[Any]
    strikes: int = 3
    rest: int = 10

    def __post_init__(self) -> None:
        if self.strikes < 1:
            raise ConfigError(f"a client rests after 1 or more asks that came to nothing, not after {self.strikes}")
        if self.rest < 1:
            raise ConfigError(f"a client rests for 1 or more rounds, not for {self.rest}")

    @property
    def works(self) -> Mapping[str, Work]:
        """The inner algorithm's."""
        return self.inner.works

    def start(self, params: Tree, seed: int) -> DependableState:
        """Before the first ask: everybody is trusted."""
        return DependableState(self.inner.start(params, seed))

    def ask(self, state: DependableState, population: Population) -> Ask | None:
        """What the inner algorithm asks where it sees nobody who rests."""
        this = self.round(state) + 1
        there = {client: each for client, each in state.resting.items() if client in population.ids}
        resting = {client: each.why for client, each in there.items() if this <= each.until}
        try:
            ask = self.inner.ask(state.inner, population.without(resting))
        except CohortTooLarge:
            if not resting:
                raise
            return self.inner.ask(state.inner, population)
        return None if ask is None else replace(ask, left_out={**ask.left_out, **resting})

    def tell(self, state: DependableState, reply: Reply) -> DependableState:
        """Count who came to nothing, and tell the inner algorithm."""
        this, strikes = self.round(state) + 1, dict(state.strikes)
        resting = {client: each for client, each in state.resting.items() if this <= each.until}
        for client, outcome in reply.outcomes.items():
            if outcome.status is Status.UPDATED:
                strikes.pop(client, None)
                resting.pop(client, None)
            else:
                strikes[client] = strikes.get(client, 0) + 1
                if strikes[client] >= self.strikes:
                    resting[client] = self._rest(outcome, this + self.rest)
                    del strikes[client]
        return DependableState(self.inner.tell(state.inner, reply), strikes, resting)

    def params(self, state: DependableState) -> Tree:
        """The inner algorithm's."""
        return self.inner.params(state.inner)

    def round(self, state: DependableState) -> int:
        """The inner algorithm's."""
        return self.inner.round(state.inner)

    def _rest(self, outcome: Outcome, until: int) -> Rest:
        times = "its last ask" if self.strikes == 1 else f"each of its last {self.strikes} asks"
        last = f"{outcome.status}: {outcome.why}" if outcome.why else f"{outcome.status}"
        return Rest(until, f"not asked until round {until + 1}: {times} came to nothing; the last one, {last}")
