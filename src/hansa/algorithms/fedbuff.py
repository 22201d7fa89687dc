"""FedBuff: asynchronous federated learning with a buffer. Nobody waits for the slowest client.

J. Nguyen, K. Malik, H. Zhan, A. Yousefpour, M. Rabbat, M. Malek, D. Huba, Federated Learning with Buffered Asynchronous
Aggregation, AISTATS 2022, Algorithm 1 (server) and 2 (client), section 3 (the discount).

    at most C clients are at work; client i starts from x_v, the model of its own version v:  Δ_i ← LocalTraining(x_v) − x_v
    as soon as K updates have come:  Δ ← (1/K)·Σ s(τ_i)·Δ_i,  τ_i = t − v;   x ← ServerOptimizer(x, −Δ)

The paper replaces a client the moment it answers; here the clients at work are filled up to C with each server step, when there
is a new model to give them. So between two steps C − K + 1 clients are at work at least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hansa.algorithms.refilling import Refill, Samplers
from hansa.algorithms.server import carried, rule_of, server_init, server_step
from hansa.core.ask import AggregationRule, Ask, Closing, Reply
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import UniformSampler
from hansa.core.tree import Tree
from hansa.core.work import TrainingWork, Work
from hansa.errors import ConfigError
from hansa.rules.discounted import Discounted
from hansa.rules.staleness import Polynomial, Staleness
from hansa.training.kept import parted
from hansa.training.optimizers import SGD, Optimizer, OptimizerState
from hansa.training.whole import Whole


@dataclass(frozen=True)
class FedBuffState:
    """x after `round` server steps, the run's seed, the server optimiser's state, and the clients' where it is federated."""

    params: Tree
    round: int
    seed: int
    server: OptimizerState
    optimizer: Tree = field(default_factory=dict)


@dataclass(frozen=True)
class FedBuff:
    """Move the model whenever `goal` updates have come, whoever they are from; slower clients count in a later step.

    A round is one server step. An update is a change of the model that its client was given, however old that is, and counts
    once, in the step after it comes: x ← x + η·(1/K)·Σ s(τ_i)·Δ_i. The divisor is the number of updates, K, and not Σ s(τ_i),
    so that the discount is one: a fresh update weighs 1, and a step of stale ones is a smaller step.

    Statistics, such as BatchNorm's, are not changes: clients send them whole, in full whatever their staleness, and their mean
    replaces the server's. (Sums of old changes of a variance can make it negative.) Of counters the largest counts, as in
    `FedAvg`.

    Attributes:
        local: the clients' training.
        rounds: how many server steps.
        goal: K, how many updates a step takes.
        concurrency: C, how many clients are at work at once; at least `goal`.
        server: the server's optimiser; the paper's is SGD(η_g), with momentum if wanted.
        staleness: s, what an update counts for by its staleness τ; the paper's is 1/√(1 + τ).
        max_staleness: an update that is staler is refused, and seen as rejected in the History; None for no limit.
        weighted: weigh clients by their examples, Σ n_i·s(τ_i)·Δ_i / Σ n_i; otherwise each counts once.
        sampler: who is drawn when clients are missing, of those that hold training data and are not at work: a function of how
            many, such as `UniformSampler` or `WeightedSampler`.
        patience: a client that has not answered so many seconds after it was asked is dropped, and another asked; None for no
            limit.
    """

    local: TrainingWork
    rounds: int
    goal: int
    concurrency: int
    server: Optimizer = SGD(1.0)
    staleness: Staleness = Polynomial(0.5)
    max_staleness: int | None = None
    weighted: bool = False
    sampler: Samplers = UniformSampler
    patience: float | None = None

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigError(f"the number of rounds is at least 0, not {self.rounds}")
        self._closing, self._refill, self._rule(frozenset())  # each refuses what contradicts itself

    @property
    def works(self) -> Mapping[str, Work]:
        """Local training, its statistics sent whole."""
        return {"train": Whole(self.local, self.local.buffers) if self.local.buffers else self.local}

    def start(self, params: Tree, seed: int) -> FedBuffState:
        """Before the first step."""
        return FedBuffState(params, 0, seed, server_init(self.server, params, self.local.buffers))

    def ask(self, state: FedBuffState, population: Population) -> Ask | None:
        """Let as many clients as are missing train today's model, and wait for the next `goal` updates of anyone."""
        if state.round == self.rounds:
            return None
        this = state.round + 1
        cohort = self._refill.cohort("train", population, key(state.seed, "cohort", this))
        x, optimizer = {**state.params, **state.optimizer}, carried(self.local, state.params)
        rule = self._rule(self._values(state.params) | optimizer.keys())
        form = x if state.optimizer else {**x, **optimizer}
        return Ask("train", x, cohort, rule, round=this, version=state.round, closing=self._closing, form=form)

    def tell(self, state: FedBuffState, reply: Reply) -> FedBuffState:
        """One server step."""
        change, optimizer = parted(reply.aggregate)
        values = self._values(state.params)
        stepped, server = server_step(self.server, state.params, change, state.server, self.local.buffers)
        params = {name: change[name] if name in values else leaf for name, leaf in stepped.items()}
        return FedBuffState(params, state.round + 1, state.seed, server, optimizer)

    def params(self, state: FedBuffState) -> Tree:
        """x."""
        return state.params

    def round(self, state: FedBuffState) -> int:
        """t, the number of server steps."""
        return state.round

    @property
    def _closing(self) -> Closing:
        return Closing.first(self.goal, patience=self.patience)

    @property
    def _refill(self) -> Refill:
        return Refill(self.concurrency, self.goal, self.sampler)

    def _rule(self, values: frozenset[str]) -> AggregationRule[Any]:
        equal = not self.weighted and not getattr(self.local, "rules", {})  # a work's own rules are taken as they are
        return Discounted(rule_of(self.local, weighted=not equal), self.staleness, self.max_staleness, values)

    def _values(self, params: Tree) -> frozenset[str]:
        """The leaves of updates that are sent whole."""
        return Whole(self.local, self.local.buffers).whole(params)
