"""A new algorithm is one file and no edit elsewhere: SCAFFOLD, with private state, below; and what it gains over FedAvg.

S. P. Karimireddy et al., SCAFFOLD: Stochastic Controlled Averaging for Federated Learning, ICML 2020, Algorithm 1, option II.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from hansa.algorithms import Evaluated, FedAvg
from hansa.core import tree
from hansa.core.ask import Ask, FederatedAlgorithm, Reply
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import AllClients, ClientSampler, UniformSampler
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, Work
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.rules import WeightedMean
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining


@dataclass(frozen=True)
class Controlled:
    """Local training whose gradients are corrected by c − c_i; the client keeps its control variate c_i to itself."""

    local: LocalTraining
    rate: float

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        x, c = tree.part(broadcast, "x"), tree.part(broadcast, "c")
        own = context.state or tree.zeros_like(x)
        correction = tree.subtract(c, own)
        local = self.local.with_gradient(lambda gradient, _, __: tree.add(gradient, correction))
        update = local(x, context)
        steps = sum(1 for _ in local.batches(context))
        new = tree.subtract(tree.subtract(own, c), tree.scale(update.tree, 1 / (steps * self.rate)))
        return replace(update, tree=tree.join({"x": update.tree, "c": tree.subtract(new, own)}), state=new)


@dataclass(frozen=True)
class ScaffoldState:
    params: Tree
    control: Tree
    round: int
    seed: int


@dataclass(frozen=True)
class Scaffold:
    local: LocalTraining
    rate: float
    rounds: int
    sampler: ClientSampler = AllClients()

    @property
    def works(self) -> Mapping[str, Work]:
        return {"train": Controlled(self.local, self.rate)}

    def start(self, params: Tree, seed: int) -> ScaffoldState:
        return ScaffoldState(params, tree.zeros_like(params), 0, seed)

    def ask(self, state: ScaffoldState, population: Population) -> Ask | None:
        if state.round == self.rounds:
            return None
        cohort = self.sampler.sample(population.holding("train"), key(state.seed, "cohort", state.round + 1))
        broadcast = tree.join({"x": state.params, "c": state.control})
        return Ask("train", broadcast, cohort, WeightedMean(equal=True), round=state.round + 1, version=state.round)

    def tell(self, state: ScaffoldState, reply: Reply) -> ScaffoldState:
        share = len(reply.outcomes) / len(DATA)
        control = tree.add(state.control, tree.scale(tree.part(reply.aggregate, "c"), share))
        return ScaffoldState(
            tree.add(state.params, tree.part(reply.aggregate, "x")), control, state.round + 1, state.seed
        )

    def params(self, state: ScaffoldState) -> Tree:
        return state.params

    def round(self, state: ScaffoldState) -> int:
        return state.round


# Classes that overlap, so that the optimum of the softmax regression is finite, and clients that differ.
DATA = blobs(4, examples=40, features=2, classes=2, spread=3.0)
MODEL = NumpyMLP((2, 2), dtype="float64")
RATE = 0.15
LOCAL = LocalTraining(MODEL, SGD(RATE), batch_size=1000, steps=10)


def slope(params: Tree) -> float:
    """The norm of the gradient of the clients' mean loss: zero at the exact optimum."""
    total = tree.zeros_like(params)
    for client in DATA:
        total = tree.add(total, MODEL.gradient(MODEL.load(params), DATA[client].all(), key(0)).gradient)
    return tree.norm(tree.scale(total, 1 / len(DATA)))


def run(algorithm: FederatedAlgorithm[Any]) -> Tree:
    return Federation.simulate(DATA).run(Experiment(MODEL, algorithm)).history.model


def test_it_reaches_the_exact_optimum_where_fedavg_stays_beside_it() -> None:
    controlled, averaged = slope(run(Scaffold(LOCAL, RATE, 120))), slope(run(FedAvg(LOCAL, 120, weighted=False)))
    assert controlled < 1e-9
    assert averaged > 1e-3


def test_it_does_with_half_of_the_clients_each_round() -> None:
    few = UniformSampler(2)
    assert slope(run(Scaffold(LOCAL, RATE, 100, few))) < 1e-2 * slope(run(FedAvg(LOCAL, 100, few, weighted=False)))


def test_combinators_take_it_as_they_take_any() -> None:
    plain = run(Scaffold(LOCAL, RATE, 3))
    history = (
        Federation.simulate(DATA).run(Experiment(MODEL, Evaluated(Scaffold(LOCAL, RATE, 3), Evaluation(MODEL)))).history
    )
    assert all(history.model[name].tobytes() == leaf.tobytes() for name, leaf in plain.items())
    losses = [value for _, value in history.series("loss")]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_a_state_that_was_never_kept_would_be_noticed() -> None:
    class Forgetful(Controlled):
        def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
            return replace(super().__call__(broadcast, context), state=None)

    class Lossy(Scaffold):
        @property
        def works(self) -> Mapping[str, Work]:
            return {"train": Forgetful(self.local, self.rate)}

    with np.errstate(all="ignore"):
        assert slope(run(Lossy(LOCAL, RATE, 50))) > 10 * slope(run(Scaffold(LOCAL, RATE, 50)))


@pytest.mark.parametrize("seed", [0, 1])
def test_its_bits_do_not_depend_on_who_comes_first(seed: int) -> None:
    class Shuffled(Scaffold):
        def ask(self, state: ScaffoldState, population: Population) -> Ask | None:
            ask = super().ask(state, population)
            if ask is None:
                return None
            return replace(ask, cohort=tuple(key(seed, state.round).generator().permutation(ask.cohort).tolist()))

    plain, shuffled = run(Scaffold(LOCAL, RATE, 5)), run(Shuffled(LOCAL, RATE, 5))
    assert all(plain[name].tobytes() == shuffled[name].tobytes() for name in plain)
