"""Bagging: each round the clients boost trees side by side, and the ensemble takes all of them.

What NVFlare calls tree-based bagging ("Federated XGBoost", job type horizontal, mode bagging), and Flower FedXgbBagging. It is
neither Breiman's bagging nor boosting on pooled data: each client boosts on what it holds, and a round's trees are grown
independently of each other, like those of a forest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hansa.core.ask import Ask, Closing, Reply
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import AllClients, ClientSampler
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.errors import ConfigError
from hansa.models.ensemble import LEAF, appended, from_leaf, head_of, to_leaf, trees_from_tree
from hansa.rules.trees import JoinedTrees, Shares


@dataclass(frozen=True)
class BaggingState:
    """The ensemble after `round` rounds, and the run's seed."""

    params: Tree
    round: int
    seed: int


@dataclass(frozen=True)
class Bagging:
    """Join what the clients boost.

    Attributes:
        local: the clients' boosting, usually a `LocalBoosting`: its updates are new trees.
        rounds: how many.
        sampler: who takes part in a round, of those that hold training data.
        shares: how much each client's trees count; see `JoinedTrees`.
        closing: when a round is complete.
    """

    local: Work
    rounds: int
    sampler: ClientSampler = AllClients()
    shares: Shares = "weighted"
    closing: Closing = Closing.all()

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigError(f"the number of rounds is at least 0, not {self.rounds}")
        JoinedTrees(self.shares)

    @property
    def works(self) -> Mapping[str, Work]:
        """Local boosting."""
        return {"train": self.local}

    def start(self, params: Tree, seed: int) -> BaggingState:
        """Before the first round."""
        return BaggingState(params, 0, seed)

    def ask(self, state: BaggingState, population: Population) -> Ask | None:
        """Let a cohort boost on top of today's ensemble."""
        if state.round == self.rounds:
            return None
        this = state.round + 1
        cohort = self.sampler.sample(population.holding("train"), key(state.seed, "cohort", this))
        rule = JoinedTrees(self.shares, head_of(from_leaf(state.params[LEAF])))
        # No form: how many trees come, and how large they are, only the rule can judge.
        return Ask("train", state.params, cohort, rule, round=this, version=state.round, closing=self.closing)

    def tell(self, state: BaggingState, reply: Reply) -> BaggingState:
        """Append the round's trees."""
        grown = appended(from_leaf(state.params[LEAF]), trees_from_tree(reply.aggregate, where="the joined trees"))
        return BaggingState({LEAF: to_leaf(grown)}, state.round + 1, state.seed)

    def params(self, state: BaggingState) -> Tree:
        """The ensemble."""
        return state.params

    def round(self, state: BaggingState) -> int:
        """How many rounds of trees it has."""
        return state.round
