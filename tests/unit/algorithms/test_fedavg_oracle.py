"""FedAvg against a loop written out by hand, and against the same network in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn import functional as F

from hansa.algorithms import FedAvg, fedadam, fedavgm
from hansa.core import tree
from hansa.core.keys import key
from hansa.core.sampling import AllClients, ClientSampler, UniformSampler
from hansa.core.tree import Tree
from hansa.core.work import ClientContext
from hansa.data import FederatedData
from hansa.errors import ConfigError
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.testing import blobs
from hansa.training import SGD, LocalTraining

DATA = blobs(4)
SEED = 11
HIDDEN = NumpyMLP((5, 6, 3), dtype="float64")


def gradient_of(w: list[Any], x: Any, y: Any) -> tuple[Any, ...]:
    """Softmax cross-entropy of a network with one hidden layer, in the notation of a textbook."""
    w1, b1, w2, b2 = w
    z = x @ w1.T + b1
    a = np.where(z > 0, z, 0)
    s = a @ w2.T + b2
    p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    onehot = np.eye(s.shape[1])[y]
    d2 = (p - onehot) / len(y)
    d1 = (d2 @ w2) * (z > 0)
    return d1.T @ x, d1.sum(axis=0), d2.T @ a, d2.sum(axis=0)


def by_hand(
    data: FederatedData,
    params: Tree,
    rounds: int,
    *,
    rate: float,
    batch: int,
    epochs: int,
    weighted: bool,
    momentum: float,
    sampler: ClientSampler | None,
) -> Tree:
    """McMahan et al. 2017, Algorithm 1, with Hsu et al.'s momentum at the server."""
    names = list(params)
    x = [params[name].copy() for name in names]
    velocity = [np.zeros_like(leaf) for leaf in x]
    for round_ in range(1, rounds + 1):
        cohort = list(data)
        if sampler is not None:
            drawn = key(SEED, "cohort", round_).generator().choice(len(cohort), 2, replace=False)
            cohort = [cohort[index] for index in drawn]
        changes, weights = [], []
        for client in cohort:
            w = [leaf.copy() for leaf in x]
            shuffle = key(SEED, "client", client, round_, "train", 0, "shuffle")
            for examples in data[client].shuffle_repeat(batch, shuffle, epochs=epochs):
                gradient = gradient_of(w, examples["x"].astype(np.float64), examples["y"])
                w = [leaf - rate * g for leaf, g in zip(w, gradient, strict=True)]
            changes.append([new - old for new, old in zip(w, x, strict=True)])
            weights.append(len(data[client]) if weighted else 1)
        for place in range(len(x)):
            mean = sum(n * change[place] for n, change in zip(weights, changes, strict=True)) / sum(weights)
            velocity[place] = momentum * velocity[place] + mean
            x[place] = x[place] + velocity[place]
    return dict(zip(names, x, strict=True))


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("sampler", [None, UniformSampler(2)])
def test_fedavg_computes_what_a_loop_written_by_hand_does(
    weighted: bool, momentum: float, sampler: ClientSampler | None
) -> None:
    server = fedavgm(1.0, momentum) if momentum else SGD(1.0)
    local = LocalTraining(HIDDEN, SGD(0.2), batch_size=7, epochs=2)
    algorithm = FedAvg(local, 4, sampler or AllClients(), server=server, weighted=weighted)
    experiment = Experiment(HIDDEN, algorithm, seed=SEED)
    history = Federation.simulate(DATA).run(experiment).history
    expected = by_hand(
        DATA,
        experiment.start(),
        4,
        rate=0.2,
        batch=7,
        epochs=2,
        weighted=weighted,
        momentum=momentum,
        sampler=sampler,
    )
    assert history.rounds == 4
    for name, leaf in expected.items():
        assert np.allclose(history.model[name], leaf, rtol=1e-10, atol=1e-12)
    assert any(not np.allclose(leaf, experiment.start()[name], atol=1e-2) for name, leaf in expected.items())


def test_weights_make_a_difference() -> None:
    local = LocalTraining(HIDDEN, SGD(0.2), epochs=1)
    models = [
        Federation.simulate(DATA).run(Experiment(HIDDEN, FedAvg(local, 2, weighted=weighted))).history.model
        for weighted in (True, False)
    ]
    assert any(not np.allclose(models[0][name], models[1][name], rtol=1e-6) for name in models[0])


def test_numpy_and_pytorch_learn_the_same_model() -> None:
    ours = NumpyMLP((5, 6, 3))
    theirs = TorchModel(lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), F.cross_entropy)
    start = ours.init(key(3))
    renamed = dict(zip(theirs.init(key(0)), start.values(), strict=True))
    histories = [
        Federation.simulate(DATA)
        .run(Experiment(model, FedAvg(LocalTraining(model, SGD(0.1), batch_size=8, epochs=2), 5), initial=initial))
        .history
        for model, initial in ((ours, start), (theirs, renamed))
    ]
    for mine, other in zip(histories[0].model.values(), histories[1].model.values(), strict=True):
        assert np.allclose(mine, other, rtol=1e-4, atol=1e-5)
    for mine_entry, other_entry in zip(histories[0].entries, histories[1].entries, strict=True):
        assert mine_entry.metrics.value("loss") == pytest.approx(other_entry.metrics.value("loss"), rel=1e-4)
    assert histories[0].entries[-1].metrics.value("loss") < 0.8 * histories[0].entries[0].metrics.value("loss")


def test_a_client_that_is_alone_with_a_plain_server_keeps_its_own_model() -> None:
    local = LocalTraining(HIDDEN, SGD(0.2), epochs=1)
    experiment = Experiment(HIDDEN, FedAvg(local, 1))
    history = Federation.simulate({"only": DATA["0"]}).run(experiment).history
    visit = ClientContext("only", {"train": DATA["0"]}, round=1, key=key(0, "client", "only", 1, "train", 0))
    trained = tree.moved(experiment.start(), local(experiment.start(), visit).tree)
    assert all(np.allclose(history.model[name], leaf, rtol=1e-14) for name, leaf in trained.items())
    assert history.entries[0].outcomes["only"].weight == len(DATA["0"])


def test_no_rounds_leave_the_model_as_it_was() -> None:
    experiment = Experiment(HIDDEN, FedAvg(LocalTraining(HIDDEN, SGD(0.1), epochs=1), 0))
    history = Federation.simulate(DATA).run(experiment).history
    assert (history.rounds, history.entries) == (0, ())
    assert all(np.array_equal(history.model[name], leaf) for name, leaf in experiment.start().items())
    with pytest.raises(ConfigError, match="number of rounds is at least 0, not -1"):
        FedAvg(LocalTraining(HIDDEN, SGD(0.1), epochs=1), -1)


def test_statistics_move_by_the_clients_mean_whatever_the_server_s_optimiser() -> None:
    model = TorchModel(lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), F.cross_entropy)
    local, initial = LocalTraining(model, SGD(0.1), batch_size=10, epochs=1), model.init(key(0))
    models = {}
    for name, optimizer in (("plain", SGD(1.0)), ("adam", fedadam(0.1)), ("slow", SGD(0.1))):
        models[name] = (
            Federation.simulate(DATA)
            .run(Experiment(model, FedAvg(local, 1, server=optimizer), initial=initial))
            .history.model
        )
    for statistic in model.buffers:
        assert not np.array_equal(models["plain"][statistic], initial[statistic])
        for other in ("adam", "slow"):
            assert np.array_equal(models[other][statistic], models["plain"][statistic])
    assert not np.allclose(models["adam"]["0.weight"], models["plain"]["0.weight"])
