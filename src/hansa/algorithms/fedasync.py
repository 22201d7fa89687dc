"""FedAsync: asynchronous federated optimisation. The server mixes every client's model into its own as it comes.

C. Xie, S. Koyejo, I. Gupta, Asynchronous Federated Optimization, 2019 (arXiv:1903.03934), Algorithm 1 and section 5.2.

    client:  x_new ← LocalTraining(x_v), from the model of its own version v
    server:  α_t ← α·s(t − v);   x ← (1 − α_t)·x + α_t·x_new

The paper's clients minimise F_k(x) + (ρ/2)·‖x − x_v‖²: that is `local.with_gradient(Proximal(ρ))`, as in FedProx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hansa.algorithms.refilling import Refill, Samplers
from hansa.algorithms.server import carried
from hansa.core import tree
from hansa.core.ask import Ask, Closing, Reply, Status
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import UniformSampler
from hansa.core.tree import Tree, is_floating
from hansa.core.work import TrainingWork, Work
from hansa.errors import ConfigError
from hansa.rules.discounted import Discounted
from hansa.rules.mean import WeightedMean
from hansa.rules.staleness import Constant, Polynomial, Staleness
from hansa.training.whole import Whole

WORK = "train_whole"
"""The name of the work, which is not "train": its update is a model, not a change of one."""


@dataclass(frozen=True)
class FedAsyncState:
    """x after `round` updates, and the run's seed."""

    params: Tree
    round: int
    seed: int


@dataclass(frozen=True)
class FedAsync:
    """Mix each client's own model into the global one as soon as it comes, less the older the model that it started from.

    A round is one update. Clients send the model that they have trained, all of it: a server that has moved on could not tell
    it from today's model and their change. Statistics are mixed like parameters; counters are the client's.

    Attributes:
        local: the clients' training; for the paper's regulariser, `local.with_gradient(Proximal(rho))`.
        rounds: how many updates.
        concurrency: how many clients are at work at once.
        mixing: α in (0, 1], how much of a fresh client's model becomes the global one's.
        staleness: s, by which α is multiplied: `Constant()`, `Hinge(a, b)` or `Polynomial(a)`.
        max_staleness: an update that is staler is refused, and seen as rejected in the History; None for no limit.
        sampler: who is drawn when clients are missing, of those that hold training data and are not at work: a function of how
            many, such as `UniformSampler` or `WeightedSampler`.
        patience: a client that has not answered so many seconds after it was asked is dropped, and another asked; None for no
            limit.
    """

    local: TrainingWork
    rounds: int
    concurrency: int
    mixing: float = 0.6
    staleness: Staleness = Polynomial(0.5)
    max_staleness: int | None = None
    sampler: Samplers = UniformSampler
    patience: float | None = None

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigError(f"the number of rounds is at least 0, not {self.rounds}")
        if not 0 < self.mixing <= 1:
            raise ConfigError(f"the mixing α lies in (0, 1], not {self.mixing}")
        self._closing, self._refill, self._rule  # noqa: B018 - each refuses what contradicts itself

    @property
    def works(self) -> Mapping[str, Work]:
        """Local training that sends the model."""
        return {WORK: Whole(self.local)}

    def start(self, params: Tree, seed: int) -> FedAsyncState:
        """Before the first update. Raises `ConfigError` for a training whose optimiser is federated."""
        if carried(self.local, params):
            raise ConfigError(
                "FedAsync takes one client's update at a time, and there is no mean of optimisers to federate",
                hint='let the clients "keep" their optimisers or "reset" them: optimizer_state="keep"',
            )
        return FedAsyncState(params, 0, seed)

    def ask(self, state: FedAsyncState, population: Population) -> Ask | None:
        """Let as many clients as are missing train today's model, and wait for the next update of anyone."""
        if state.round == self.rounds:
            return None
        this, x = state.round + 1, state.params
        cohort = self._refill.cohort(WORK, population, key(state.seed, "cohort", this))
        return Ask(WORK, x, cohort, self._rule, round=this, version=state.round, closing=self._closing, form=x)

    def tell(self, state: FedAsyncState, reply: Reply) -> FedAsyncState:
        """Mix the client's model into the global one."""
        outcomes = [outcome for outcome in reply.outcomes.values() if outcome.status is Status.UPDATED]
        alpha = self.mixing * self.staleness(outcomes[0].staleness)
        mixed = tree.apply(
            lambda x, new: x * (1 - alpha) + new * alpha if is_floating(x) else new, state.params, reply.aggregate
        )
        return FedAsyncState(tree.as_types(mixed, state.params), state.round + 1, state.seed)

    def params(self, state: FedAsyncState) -> Tree:
        """x."""
        return state.params

    def round(self, state: FedAsyncState) -> int:
        """t, the number of updates."""
        return state.round

    @property
    def _closing(self) -> Closing:
        return Closing.first(1, patience=self.patience)

    @property
    def _refill(self) -> Refill:
        return Refill(self.concurrency, 1, self.sampler)

    @property
    def _rule(self) -> Discounted:
        return Discounted(WeightedMean(equal=True), Constant(), self.max_staleness)
