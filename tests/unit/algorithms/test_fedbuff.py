"""FedBuff in the simulator: who is asked, statistics, private state, repeats, and settings that contradict each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn import functional as F

from hansa.algorithms import Evaluated, FedAvg
from hansa.algorithms.fedbuff import FedBuff
from hansa.core.ask import Closing
from hansa.core.history import History
from hansa.core.ids import LazyIds, Numbered
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import UniformSampler, WeightedSampler
from hansa.data import FederatedData
from hansa.errors import CohortTooLarge, ConfigError
from hansa.experiment import Experiment
from hansa.experiment.snapshot import freeze, thaw
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.protocol import codec
from hansa.rules.staleness import Constant
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining

DATA = blobs(8)
MODEL = NumpyMLP((5, 4, 3))
LOCAL = LocalTraining(MODEL, SGD(0.1), batch_size=8, epochs=1)


def run(algorithm: Any, data: FederatedData = DATA, **settings: Any) -> History:
    return Federation.simulate(data, **settings).run(Experiment(MODEL, algorithm, seed=3)).history


def test_the_same_file_gives_the_same_bits_again_and_learns() -> None:
    algorithm = Evaluated(FedBuff(LOCAL, 12, goal=3, concurrency=6), Evaluation(MODEL), every=12)
    first, again = run(algorithm), run(algorithm)
    assert codec.digest(first.model) == codec.digest(again.model)
    assert first.entries[5].outcomes == again.entries[5].outcomes
    before, after = (value for _, value in first.series("loss"))
    assert after < 0.8 * before


def test_a_fast_simulation_is_the_same_within_rounding() -> None:
    exact, fast = (run(FedBuff(LOCAL, 6, goal=2, concurrency=5), mode=mode) for mode in ("reference", "fast"))
    assert all(np.allclose(fast.model[name], leaf, rtol=1e-4, atol=1e-6) for name, leaf in exact.model.items())


def test_what_is_in_flight_is_filled_up_to_the_concurrency() -> None:
    algorithm = FedBuff(LOCAL, 9, goal=2, concurrency=4)
    state = algorithm.start(MODEL.init(key(0)), 0)
    sizes = {"train": {str(number): 5 for number in range(8)}}

    def cohort(free: int, flying: int) -> int:
        ask = algorithm.ask(state, Population(tuple(map(str, range(free))), sizes, {"train": flying}))
        assert ask is not None
        assert ask.closing == Closing.first(2)
        return len(ask.cohort)

    assert cohort(8, 0) == 4
    assert cohort(7, 1) == 3
    assert cohort(5, 3) == 1
    assert cohort(4, 4) == 0, "an ask of nobody waits for those at work"
    assert cohort(2, 6) == 0, "and so does one where more are at work than there should be"
    assert cohort(1, 1) == 1, "nobody can be asked who is not there"


def test_millions_of_clients_are_not_listed() -> None:
    algorithm = FedBuff(LOCAL, 9, goal=2, concurrency=4)
    ids = Numbered(10_000_000)

    class Sizes(dict[str, int]):
        """Everyone holds some, and nobody lists them."""

    population = Population(ids, {"train": Sizes()})
    free = population.without({"3", "5"})
    assert isinstance(free.ids, LazyIds)
    chosen = algorithm._refill.sampler(4).sample(free, key(1))
    assert len(chosen) == 4
    assert not {"3", "5"} & set(chosen)


def test_with_everyone_fresh_it_is_fedavg_of_equal_weights() -> None:
    buffered = run(FedBuff(LOCAL, 3, goal=8, concurrency=8))
    averaged = run(FedAvg(LOCAL, 3, sampler=UniformSampler(8), weighted=False))
    assert codec.digest(buffered.model) == codec.digest(averaged.model)


def test_who_is_drawn_is_the_sampler_s_choice() -> None:
    held = {str(number): 1 if number else 10**9 for number in range(8)}
    algorithm = FedBuff(LOCAL, 1, goal=1, concurrency=1, sampler=WeightedSampler)
    ask = algorithm.ask(algorithm.start(MODEL.init(key(0)), 0), Population(tuple(held), {"train": held}))
    assert ask is not None
    assert ask.cohort == ("0",)


NORMED = TorchModel(lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), F.cross_entropy)


def test_statistics_stay_means_of_the_clients_own_however_old_these_are() -> None:
    quiet = blobs(8).with_transform(lambda batch: {**batch, "x": batch["x"] * 0.01})
    local = LocalTraining(NORMED, SGD(0.01), batch_size=4, epochs=3, drop_remainder=True)
    algorithm = FedBuff(local, 8, goal=2, concurrency=8)
    experiment = Experiment(NORMED, algorithm, seed=3)
    run_of_it = Federation.simulate(quiet).run(experiment).history
    staleness = [each.staleness for entry in run_of_it.entries for each in entry.outcomes.values()]
    assert max(staleness) == 3
    variance = run_of_it.model["1.running_var"]
    assert (variance > 0).all(), "four steps of the same old change of 1 -> 0.1 would have made it negative"
    assert (variance < 0.2).all()
    assert run_of_it.model["1.num_batches_tracked"].dtype == np.int64


def test_frozen_parameters_stay_as_they_are() -> None:
    module = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    module[0].requires_grad_(False)
    model = TorchModel(module, F.cross_entropy)
    algorithm = FedBuff(
        LocalTraining(model, SGD(0.1), epochs=1), 6, goal=3, concurrency=6, server=SGD(0.5, momentum=0.9)
    )
    trained = Federation.simulate(DATA).run(Experiment(model, algorithm)).history.model
    for name, tensor in module.state_dict().items():
        assert np.array_equal(trained[name], tensor.numpy()) == name.startswith("0.")


@pytest.mark.parametrize("policy", ["keep", "federate"])
def test_optimisers_may_be_kept_or_federated(policy: Any) -> None:
    local = LocalTraining(MODEL, SGD(0.1, momentum=0.9), batch_size=8, epochs=1, optimizer_state=policy)
    history = run(FedBuff(local, 5, goal=3, concurrency=6))
    assert history.rounds == 5
    assert history.model.keys() == MODEL.init(key(0)).keys()


def test_its_state_can_be_written_down_and_read_back() -> None:
    algorithm = FedBuff(LOCAL, 3, goal=2, concurrency=2, server=SGD(1.0, momentum=0.9))
    state = algorithm.start(MODEL.init(key(0)), 5)
    snapshot = freeze(state)
    back = thaw(snapshot.document, snapshot.trees)
    assert (back.round, back.seed, type(back)) == (0, 5, type(state))
    assert all(np.array_equal(back.params[name], leaf) for name, leaf in state.params.items())


def test_too_few_clients_are_told() -> None:
    with pytest.raises(CohortTooLarge) as error:
        run(FedBuff(LOCAL, 3, goal=9, concurrency=9))
    assert error.value.what == "a round takes 9 updates, and only 8 clients can be asked"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"goal": 5, "concurrency": 4}, "a round takes 5 updates, and only 4 clients are at work at once"),
        ({"goal": 0, "concurrency": 4}, "an ask closes on at least one update, not 0"),
        ({"goal": 0, "concurrency": 0}, "an ask closes on at least one update, not 0"),
        ({"rounds": -1}, "the number of rounds is at least 0, not -1"),
        ({"max_staleness": -1}, "the largest staleness is at least 0, not -1"),
        ({"patience": 0.0}, "patience is a positive number of seconds, not 0.0"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        FedBuff(**{"local": LOCAL, "rounds": 3, "goal": 2, "concurrency": 3, **settings})
    assert error.value.what == said


def test_no_discount_is_another_model_than_the_paper_s() -> None:
    discounted = FedBuff(LOCAL, 6, goal=2, concurrency=8)
    plain = replace(discounted, staleness=Constant())
    assert codec.digest(run(discounted).model) != codec.digest(run(plain).model)
