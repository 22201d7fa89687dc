"""Evaluated: any algorithm, with evaluations between its rounds. A combinator: the algorithm inside learns nothing of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hansa.core import tree
from hansa.core.ask import AggregationRule, Ask, FederatedAlgorithm, Reply
from hansa.core.history import FEDERATED, MODEL
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import AllClients, ClientSampler
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.errors import ConfigError
from hansa.rules import Both, Collect, WeightedMean
from hansa.transforms import Decoded

EVALUATE = "evaluate"
"""The name of the work that evaluates."""


@dataclass(frozen=True)
class EvaluatedState:
    """Where it stands.

    Attributes:
        inner: the inner algorithm's state.
        done: the last round that was evaluated; -1 before the first.
        pending: the models to evaluate before the inner algorithm goes on, by name.
        seed: the run's seed.
    """

    inner: Any
    done: int
    pending: tuple[tuple[str, Tree], ...]
    seed: int


@dataclass(frozen=True)
class Evaluated:
    """Interleave evaluations with the asks of another algorithm.

    Each evaluation is an ask of its own; in the History its setting "model" names what was evaluated: "federated", or a client.

    Attributes:
        inner: the algorithm.
        work: what evaluates, usually an `Evaluation`.
        every: evaluate the initial model (round 0), then after every so many rounds, and after the last.
        rounds: evaluate after exactly these rounds instead; 0 is the initial model.
        sampler: who evaluates, of those that hold data in `split`.
        owners: evaluate each trainer's own model of these rounds too, as it was before it was averaged; not that of the last
            round where `every` does not lead to it, because nobody knows that it is the last before it is over. For algorithms
            whose work "train" returns a change of the model and nothing else.
        split: the split that evaluators hold; None for the one that the work measures on.
    """

    inner: FederatedAlgorithm[Any]
    work: Work
    every: int = 1
    rounds: Collection[int] | None = None
    sampler: ClientSampler = AllClients()
    owners: bool = False
    split: str | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"an evaluation comes every 1 or more rounds, not every {self.every}")
        if EVALUATE in self.inner.works:
            raise ConfigError(
                f"the algorithm inside already has a work named {EVALUATE!r}", hint="wrap it in one Evaluated only"
            )

    @property
    def works(self) -> Mapping[str, Work]:
        """The inner algorithm's, and "evaluate"."""
        return {**self.inner.works, EVALUATE: self.work}

    def start(self, params: Tree, seed: int) -> EvaluatedState:
        """Before the first ask."""
        state = EvaluatedState(self.inner.start(params, seed), -1, (), seed)
        return replace(state, done=0, pending=((FEDERATED, params),)) if self._due(0) else state

    def ask(self, state: EvaluatedState, population: Population) -> Ask | None:
        """The next evaluation that is due, or else what the inner algorithm asks."""
        if state.pending:
            return self._evaluation(state, *state.pending[0], population)
        ask = self.inner.ask(state.inner, population)
        if ask is None and self.rounds is None and state.done < self.round(state):
            return self._evaluation(state, FEDERATED, self.params(state), population)
        if ask is not None and self._keeps_owners(ask.work, ask.round):
            return replace(ask, rule=_with_each(ask.rule))
        return ask

    def tell(self, state: EvaluatedState, reply: Reply) -> EvaluatedState:
        """Tell the inner algorithm of what it asked, and note what is to be evaluated then."""
        if reply.work == EVALUATE:
            return replace(state, done=self.round(state), pending=state.pending[1:])
        owners: dict[str, Tree] = {}
        if self._keeps_owners(reply.work, self.round(state) + 1):
            changes = tree.parts(tree.part(reply.aggregate, "second"))
            owners = {client: self._own(state, change) for client, change in changes.items()}
            reply = replace(reply, aggregate=tree.part(reply.aggregate, "first"))
        state = replace(state, inner=self.inner.tell(state.inner, reply))
        completed = self.round(state)
        if state.done < completed and self._due(completed):
            state = replace(state, done=completed, pending=(*owners.items(), (FEDERATED, self.params(state))))
        return state

    def params(self, state: EvaluatedState) -> Tree:
        """The inner algorithm's."""
        return self.inner.params(state.inner)

    def round(self, state: EvaluatedState) -> int:
        """The inner algorithm's."""
        return self.inner.round(state.inner)

    @property
    def _held(self) -> str:
        return self.split or str(getattr(self.work, "split", None) or "test")

    def _own(self, state: EvaluatedState, change: Tree) -> Tree:
        """A trainer's own model; what an update carries besides it, such as an optimiser's state, is none of a model."""
        params = self.params(state)
        return tree.moved(params, {name: change[name] for name in params})

    def _due(self, completed: int) -> bool:
        return completed % self.every == 0 if self.rounds is None else completed in self.rounds

    def _keeps_owners(self, work: str, of_round: int) -> bool:
        return self.owners and work == "train" and self._due(of_round)

    def _evaluation(self, state: EvaluatedState, name: str, model: Tree, population: Population) -> Ask:
        completed = self.round(state)
        cohort = self.sampler.sample(population.holding(self._held), key(state.seed, EVALUATE, completed))
        settings = {MODEL: name}
        return Ask(
            EVALUATE, model, cohort, WeightedMean(), round=completed, version=completed, settings=settings, form={}
        )


def _with_each(rule: AggregationRule[Any]) -> AggregationRule[Any]:
    """A rule that keeps each update besides, as the innermost rule would see it."""
    return rule.over(_with_each) if isinstance(rule, Decoded) else Both(rule, Collect())
