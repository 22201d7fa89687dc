"""FedProx: FedAvg for μ = 0, and held nearer to the global model the larger μ is."""

from __future__ import annotations

import numpy as np
import pytest

from hansa.algorithms import FedAvg, FedProx
from hansa.core import tree
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.testing import blobs
from hansa.training import SGD, Adam, LocalTraining, Optimizer

DATA = blobs(3)
MODEL = NumpyMLP((5, 6, 3))


def trained(algorithm: FedAvg) -> Tree:
    return Federation.simulate(DATA).run(Experiment(MODEL, algorithm)).history.model


@pytest.mark.parametrize("optimizer", [SGD(0.2), SGD(0.1, momentum=0.9), Adam(0.01)], ids=repr)
def test_without_a_proximal_term_it_is_fedavg_to_the_bit(optimizer: Optimizer) -> None:
    local = LocalTraining(MODEL, optimizer, batch_size=8, epochs=2)
    prox, plain = trained(FedProx(local, 3, mu=0.0)), trained(FedAvg(local, 3))
    assert all(prox[name].tobytes() == plain[name].tobytes() for name in plain)


def test_the_larger_the_proximal_term_the_nearer_to_the_start() -> None:
    local = LocalTraining(MODEL, SGD(0.1), batch_size=8, epochs=4)
    start = Experiment(MODEL, FedAvg(local, 1)).start()
    moves = [tree.norm(tree.difference(trained(FedProx(local, 1, mu=mu)), start)) for mu in (0.0, 0.1, 1.0, 5.0)]
    assert moves == sorted(moves, reverse=True)
    assert moves[-1] < 0.5 * moves[0]
    assert len(set(moves)) == 4


def test_the_term_pulls_toward_this_round_s_model_and_not_the_first() -> None:
    # A client that starts from today's model feels no pull at its first step, in whatever round.
    local = LocalTraining(MODEL, SGD(0.1), batch_size=1000, steps=1)
    prox, plain = trained(FedProx(local, 3, mu=10.0)), trained(FedAvg(local, 3))
    assert all(np.array_equal(prox[name], plain[name]) for name in plain)


def test_a_work_that_shows_no_gradient_is_refused() -> None:
    class Opaque:
        buffers: frozenset[str] = frozenset()

        def __call__(self, broadcast: Tree, context: ClientContext, /) -> Update:
            return Update(broadcast, float(context.round))

    with pytest.raises(
        ConfigError, match="changes the gradient of a LocalTraining, and Opaque shows it none"
    ) as caught:
        FedProx(Opaque(), 1, mu=0.1)
    assert "what to do: write the work as a LocalTraining" in str(caught.value)


def test_a_negative_proximal_term_is_refused_when_it_is_given() -> None:
    with pytest.raises(ConfigError, match="at least 0, not -1"):
        FedProx(LocalTraining(MODEL, SGD(0.1), epochs=1), 1, mu=-1)
