"""FedAsync in the simulator: the model that is sent is the client's own, whatever the server's is by then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn import functional as F

from hansa.algorithms import Evaluated
from hansa.algorithms.fedasync import WORK, FedAsync
from hansa.core import tree
from hansa.core.keys import key
from hansa.core.work import ClientContext
from hansa.errors import ConfigError
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.protocol import codec
from hansa.rules.staleness import Constant
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining, Proximal
from hansa.training.whole import Whole

DATA = blobs(6)
MODEL = NumpyMLP((5, 4, 3))
LOCAL = LocalTraining(MODEL, SGD(0.1), batch_size=8, epochs=1)


def test_it_learns_and_gives_the_same_bits_again() -> None:
    algorithm = Evaluated(FedAsync(LOCAL, 30, concurrency=4), Evaluation(MODEL), every=30)
    first, again = (Federation.simulate(DATA).run(Experiment(MODEL, algorithm)).history for _ in range(2))
    assert codec.digest(first.model) == codec.digest(again.model)
    before, after = (value for _, value in first.series("loss"))
    assert after < 0.8 * before
    trained = [entry for entry in first.entries if entry.work == WORK]
    assert [len(entry.outcomes) for entry in trained] == [1] * 30
    assert max(each.staleness for entry in trained for each in entry.outcomes.values()) == 3


def test_alone_and_mixed_in_full_the_model_is_the_client_s_own() -> None:
    experiment = Experiment(MODEL, FedAsync(LOCAL, 1, concurrency=1, mixing=1.0), seed=2)
    found = Federation.simulate({"only": DATA["0"]}).run(experiment).history.model
    visit = ClientContext("only", {"train": DATA["0"]}, 1, key(2, "client", "only", 1, WORK, 0))
    own = tree.moved(experiment.start(), LOCAL(experiment.start(), visit).tree)
    assert all(np.array_equal(found[name], leaf) for name, leaf in own.items())


def test_a_stale_client_pulls_toward_its_own_model_and_not_toward_its_change() -> None:
    algorithm = FedAsync(LOCAL, 9, concurrency=3, mixing=0.5, staleness=Constant())
    done = Federation.simulate(DATA).run(Experiment(MODEL, algorithm)).history
    visits = [next(iter(entry.outcomes)) for entry in done.entries]
    start = Experiment(MODEL, algorithm).start()
    models = []
    for client in visits[:3]:  # all three were asked in round 1
        context = ClientContext(client, DATA.shard(client), 1, key(0, "client", client, 1, WORK, 0))
        models.append(tree.moved(start, LOCAL(start, context).tree))
    expected = start
    for own in models:
        expected = {name: (leaf + own[name]) / 2 for name, leaf in expected.items()}
    third = Federation.simulate(DATA).run(
        Experiment(MODEL, FedAsync(LOCAL, 3, concurrency=3, mixing=0.5, staleness=Constant()))
    )
    assert all(np.allclose(third.history.model[name], leaf, rtol=1e-5, atol=1e-7) for name, leaf in expected.items())


def test_a_proximal_term_is_the_local_training_s() -> None:
    plain = FedAsync(LOCAL, 3, concurrency=2)
    held = FedAsync(LOCAL.with_gradient(Proximal(1.0)), 3, concurrency=2)
    models = [Federation.simulate(DATA).run(Experiment(MODEL, each)).history.model for each in (plain, held)]
    start = Experiment(MODEL, plain).start()
    far, near = (tree.norm(tree.subtract(model, start)) for model in models)
    assert near < far


def test_statistics_are_mixed_and_counters_are_the_client_s() -> None:
    normed = TorchModel(lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), F.cross_entropy)
    local = LocalTraining(normed, SGD(0.01), batch_size=8, epochs=1)
    model = Federation.simulate(DATA).run(Experiment(normed, FedAsync(local, 12, concurrency=4))).history.model
    assert (model["1.running_var"] > 0).all()
    assert model["1.num_batches_tracked"].dtype == np.int64
    assert model["1.num_batches_tracked"] >= 3


def test_whole_sends_some_leaves_as_they_are_and_the_others_as_changes() -> None:
    context = ClientContext("0", DATA.shard("0"), 1, key(4))
    params = MODEL.init(key(0))
    change = LOCAL(params, context).tree
    first = next(iter(params))
    some = Whole(LOCAL, frozenset({first}))(params, context).tree
    every = Whole(LOCAL)(params, context).tree
    own = tree.moved(params, change)
    assert all(np.array_equal(every[name], leaf) for name, leaf in own.items())
    assert all(np.array_equal(some[name], (own if name == first else change)[name]) for name in params)
    assert list(some) == list(params)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rounds": -1}, "the number of rounds is at least 0, not -1"),
        ({"concurrency": 0}, "at least one client is at work at once, not 0"),
        ({"mixing": 0.0}, "the mixing α lies in (0, 1], not 0.0"),
        ({"mixing": 1.5}, "the mixing α lies in (0, 1], not 1.5"),
        ({"max_staleness": -3}, "the largest staleness is at least 0, not -3"),
        ({"patience": -1.0}, "patience is a positive number of seconds, not -1.0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        FedAsync(**{"local": LOCAL, "rounds": 3, "concurrency": 2, **settings})
    assert error.value.what == said


def test_a_federated_optimiser_is_refused() -> None:
    local = LocalTraining(MODEL, SGD(0.1, momentum=0.9), epochs=1, optimizer_state="federate")
    with pytest.raises(ConfigError, match="FedAsync takes one client's update at a time, and there is no mean"):
        Federation.simulate(DATA).run(Experiment(MODEL, FedAsync(local, 3, concurrency=2)))
