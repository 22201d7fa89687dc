"""Federated averaging, and federated optimisation: the same algorithm with another server optimiser.

H. B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agüera y Arcas, Communication-Efficient Learning of Deep Networks from
Decentralized Data, AISTATS 2017, Algorithm 1 (FedAvg).
T.-M. H. Hsu, H. Qi, M. Brown, Measuring the Effects of Non-Identical Data Distribution, 2019 (FedAvgM).
S. Reddi et al., Adaptive Federated Optimization, ICLR 2021, Algorithms 1 and 2 (FedAdagrad, FedAdam, FedYogi).

    each round t:  S ← a cohort;  every client k in S:  Δ_k ← LocalTraining(x) − x
                   Δ ← Σ n_k Δ_k / Σ n_k;               x ← ServerOptimizer(x, −Δ)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hansa.algorithms.server import carried, rule_of, server_init, server_step
from hansa.core.ask import AggregationRule, Ask, Closing, Reply
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import AllClients, ClientSampler
from hansa.core.tree import Tree
from hansa.core.work import TrainingWork, Work
from hansa.errors import ConfigError
from hansa.training.kept import parted
from hansa.training.optimizers import SGD, Adagrad, Adam, Optimizer, OptimizerState, Yogi


@dataclass(frozen=True)
class FedAvgState:
    """x after `round` rounds, the run's seed, the server optimiser's state, and the clients' where it is federated."""

    params: Tree
    round: int
    seed: int
    server: OptimizerState
    optimizer: Tree = field(default_factory=dict)


@dataclass(frozen=True)
class FedAvg:
    """Average the clients' changes of the model.

    Attributes:
        local: the clients' training.
        rounds: how many.
        sampler: who takes part in a round, of those that hold training data.
        server: the server's optimiser. SGD(1.0) is plain averaging, with momentum it is FedAvgM; Adagrad, Adam and Yogi are
            FedOpt's: see `fedavgm`, `fedadagrad`, `fedadam`, `fedyogi` for the papers' settings.
        weighted: weigh clients by their examples; otherwise each counts once.
        closing: when a round is complete.
        rule: how changes become one, instead of the work's own rule or, if it has none, the mean.
    """

    local: TrainingWork
    rounds: int
    sampler: ClientSampler = AllClients()
    server: Optimizer = SGD(1.0)
    weighted: bool = True
    closing: Closing = Closing.all()
    rule: AggregationRule[Any] | None = None

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigError(f"the number of rounds is at least 0, not {self.rounds}")
        rule_of(self.local, self.rule, self.weighted)  # refuses what contradicts itself

    @property
    def works(self) -> Mapping[str, Work]:
        """Local training."""
        return {"train": self.local}

    def start(self, params: Tree, seed: int) -> FedAvgState:
        """Before the first round."""
        return FedAvgState(params, 0, seed, server_init(self.server, params, self.local.buffers))

    def ask(self, state: FedAvgState, population: Population) -> Ask | None:
        """Let a cohort train today's model."""
        if state.round == self.rounds:
            return None
        this = state.round + 1
        cohort = self.sampler.sample(population.holding("train"), key(state.seed, "cohort", this))
        rule, x = rule_of(self.local, self.rule, self.weighted), {**state.params, **state.optimizer}
        form = x if state.optimizer else {**x, **carried(self.local, x)}
        return Ask("train", x, cohort, rule, round=this, version=state.round, closing=self.closing, form=form)

    def tell(self, state: FedAvgState, reply: Reply) -> FedAvgState:
        """Move the model by the mean change."""
        change, optimizer = parted(reply.aggregate)
        params, server = server_step(self.server, state.params, change, state.server, self.local.buffers)
        return FedAvgState(params, state.round + 1, state.seed, server, optimizer)

    def params(self, state: FedAvgState) -> Tree:
        """x."""
        return state.params

    def round(self, state: FedAvgState) -> int:
        """t."""
        return state.round


def fedavgm(learning_rate: float = 1.0, momentum: float = 0.9) -> Optimizer:
    """FedAvgM's server optimiser."""
    return SGD(learning_rate, momentum=momentum)


def fedadagrad(learning_rate: float = 0.1, tau: float = 1e-3) -> Optimizer:
    """FedAdagrad's server optimiser: v starts from τ², no bias correction."""
    return Adagrad(learning_rate, epsilon=tau, initial=tau**2)


def fedadam(learning_rate: float = 0.1, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3) -> Optimizer:
    """FedAdam's server optimiser: v starts from τ², no bias correction."""
    return Adam(learning_rate, beta1, beta2, epsilon=tau, debias=False, initial=tau**2)


def fedyogi(learning_rate: float = 0.1, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3) -> Optimizer:
    """FedYogi's server optimiser: v starts from τ²."""
    return Yogi(learning_rate, beta1, beta2, epsilon=tau, initial=tau**2)
