"""Reference mode: the same seed gives the same bits, in this process and in others, and leaves the threads as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info
from torch import nn
from torch.nn import functional as F

from hansa.algorithms import Evaluated, FedAvg
from hansa.core.history import History
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError, RunFailed
from hansa.experiment import Experiment
from hansa.experiment.reference import threads, version_of
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.protocol import codec
from hansa.testing import blobs
from hansa.training import SGD, Adam, Evaluation, LocalTraining

DATA = blobs(3)
CNN = TorchModel(
    lambda: nn.Sequential(
        nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(16, 3)
    ),
    F.cross_entropy,
)
MLP = NumpyMLP((5, 8, 3))


def run(model: Any, seed: int = 0, **options: Any) -> History:
    algorithm = Evaluated(FedAvg(LocalTraining(model, Adam(0.01), batch_size=7, epochs=2), 3), Evaluation(model))
    return Federation.simulate(DATA, **options).run(Experiment(model, algorithm, seed=seed)).history


@pytest.mark.parametrize("model", [CNN, MLP], ids=["PyTorch with dropout", "NumPy"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(model: Any) -> None:
    one, other, third = run(model), run(model), run(model, seed=1)
    assert codec.digest(one.model) == codec.digest(other.model) != codec.digest(third.model)
    assert [entry.metrics for entry in one.entries] == [entry.metrics for entry in other.entries]
    assert [entry.outcomes for entry in one.entries] == [entry.outcomes for entry in other.entries]


def states() -> tuple[bytes, str]:
    """Of the global generators."""
    return torch.random.get_rng_state().numpy().tobytes(), repr(np.random.get_state())  # noqa: NPY002 - it is this one


def test_global_generators_neither_matter_nor_move() -> None:
    before = run(CNN)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - it is this one that is meant
    seeded = states()
    assert codec.digest(run(CNN).model) == codec.digest(before.model)
    assert states() == seeded


PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from hansa.algorithms import FedAvg
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.protocol import codec
from hansa.testing import blobs
from hansa.training import SGD, LocalTraining

data = blobs(2, examples=300, features=64)

def wide():
    return nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 3))

for model in (TorchModel(wide, F.cross_entropy), NumpyMLP((64, 512, 3))):
    algorithm = FedAvg(LocalTraining(model, SGD(0.05), batch_size=100, epochs=1), 2)
    print(codec.digest(Federation.simulate(data).run(Experiment(model, algorithm, seed=3)).history.model))
"""


def test_the_bits_do_not_depend_on_the_process_its_hash_seed_or_its_threads() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed, count in (("1", "1"), ("2", "2"))
    ]
    assert told[0] == told[1]
    assert len(set(told[0])) == 2


# --- threads


def counts() -> list[int]:
    return [torch.get_num_threads(), *(int(pool["num_threads"]) for pool in threadpool_info())]


class Watching:
    """A work that notes how many threads there are while it runs."""

    buffers: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def __call__(self, broadcast: Tree, context: ClientContext, /) -> Update:
        self.seen.append(counts())
        if context.id == "2" and context.round == 2:
            raise RuntimeError("enough")
        return Update({name: np.zeros_like(leaf) for name, leaf in broadcast.items()})


@pytest.fixture
def two_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("rounds", [1, 2], ids=["a run to its end", "a run that fails"])
def test_a_run_computes_with_one_thread_and_puts_back_what_there_was(rounds: int) -> None:
    before, work = counts(), Watching()
    assert before[0] == 2
    try:
        Federation.simulate(DATA).run(Experiment(MLP, FedAvg(work, rounds)))
    except RunFailed:
        assert rounds == 2
    assert work.seen
    assert {count for seen in work.seen for count in seen} == {1}
    assert counts() == before


@pytest.mark.usefixtures("two_threads")
def test_fast_mode_leaves_the_threads_alone() -> None:
    before, work = counts(), Watching()
    history = Federation.simulate(DATA, mode="fast").run(Experiment(MLP, FedAvg(work, 1))).history
    assert work.seen[0] == before
    assert history.mode == "fast"
    assert history.environment["threads"] == "any"


@pytest.mark.usefixtures("two_threads")
def test_contexts_may_be_nested() -> None:
    with threads("reference"):
        with threads("reference"):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_what_the_numbers_depend_on_is_recorded() -> None:
    history = run(MLP)
    assert history.mode == "reference"
    assert history.environment["threads"] == "1"
    assert history.environment["numpy"] == np.__version__
    assert history.environment["torch"] == torch.__version__
    assert history.environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"hansa", "machine", "system", "simd", "safetensors", "ml_dtypes"} <= history.environment.keys()
    assert all(isinstance(value, str) for value in history.environment.values())


def test_versions_are_those_that_the_packages_tell() -> None:
    assert [version_of(name) for name in ("numpy", "torch", "hansa")] == list(map(version, ("numpy", "torch", "hansa")))
    assert version_of("no-such-package") == ""


def test_a_mode_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="no mode 'exact'") as caught:
        Federation.simulate(DATA, mode="exact")  # type: ignore[arg-type]  # on purpose
    assert '"reference" or "fast"' in caught.value.hint


def test_steps_are_told_as_they_are_made() -> None:
    algorithm = Evaluated(FedAvg(LocalTraining(MLP, SGD(0.1), epochs=1), 2), Evaluation(MLP))
    run = Federation.simulate(DATA).run(Experiment(MLP, algorithm), wait=False)
    history = run.wait().history
    told = [(e.entry.work, e.entry.round, n) for n, e in enumerate(run.stream(), 1) if e.entry is not None]
    assert told == [("evaluate", 0, 1), ("train", 1, 2), ("evaluate", 1, 3), ("train", 2, 4), ("evaluate", 2, 5)]
    assert len(history.entries) == 5
    assert all(entry.seconds >= 0 for entry in history.entries)


def test_a_run_begins_from_the_parameters_that_it_is_given() -> None:
    initial = {name: leaf + 1 for name, leaf in MLP.init(key(0)).items()}
    history = (
        Federation.simulate(DATA)
        .run(Experiment(MLP, FedAvg(LocalTraining(MLP, SGD(1e-30), epochs=1), 1), initial=initial))
        .history
    )
    assert all(np.allclose(history.model[name], leaf) for name, leaf in initial.items())


def test_plain_mappings_of_data_sets_are_simulated_too() -> None:
    mapping = {client: DATA[client] for client in DATA}
    algorithm = FedAvg(LocalTraining(MLP, SGD(0.1), epochs=1), 1)
    one, other = (Federation.simulate(data).run(Experiment(MLP, algorithm)).history for data in (DATA, mapping))
    assert codec.digest(one.model) == codec.digest(other.model)
