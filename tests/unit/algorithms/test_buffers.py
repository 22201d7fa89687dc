"""BatchNorm's statistics and counters, frozen parameters and narrow models, through whole rounds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hansa.algorithms import FedAvg
from hansa.core import tree
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext
from hansa.experiment import Experiment, load_results, save_results
from hansa.federation import Federation
from hansa.models.torch import TorchModel
from hansa.protocol import codec
from hansa.testing import blobs
from hansa.training import SGD, LocalTraining

DATA = blobs(3, examples=20)
NORMED = TorchModel(lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), F.cross_entropy)
LOCAL = LocalTraining(NORMED, SGD(0.1), batch_size=8, epochs=2)


def own_models(params: Tree, round_: int = 1) -> dict[str, Tree]:
    """What each client's training makes of `params`."""
    contexts = {
        client: ClientContext(client, DATA.shard(client), round_, key(0, "client", client, round_, "train", 0))
        for client in DATA
    }
    return {client: tree.moved(params, LOCAL(params, context).tree) for client, context in contexts.items()}


def test_statistics_are_averaged_by_examples_and_counters_are_the_largest() -> None:
    experiment = Experiment(NORMED, FedAvg(LOCAL, 1))
    model, own = Federation.simulate(DATA).run(experiment).history.model, own_models(experiment.start())
    weights = [len(DATA[client]) for client in own]
    for name in ("1.running_mean", "1.running_var"):
        assert np.allclose(
            model[name], np.average([each[name] for each in own.values()], axis=0, weights=weights), rtol=1e-5
        )
    counters = [int(each["1.num_batches_tracked"]) for each in own.values()]
    assert counters == [6, 6, 8], "each client counts its own batches: 20, 23 and 26 examples by 8, twice"
    assert model["1.num_batches_tracked"] == 8
    assert model["1.num_batches_tracked"].dtype == np.int64


def test_counters_go_on_counting_over_rounds() -> None:
    model = Federation.simulate(DATA).run(Experiment(NORMED, FedAvg(LOCAL, 3))).history.model
    assert model["1.num_batches_tracked"] == 24


def test_a_model_with_counters_can_be_saved_and_loaded(tmp_path: Path) -> None:
    history = Federation.simulate(DATA).run(Experiment(NORMED, FedAvg(LOCAL, 2))).history
    assert all(isinstance(leaf, np.ndarray) for leaf in history.model.values())
    save_results(history, tmp_path)
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest() == codec.digest(history.model)
    back = load_results(tmp_path).model
    assert all(np.array_equal(back[name], leaf) for name, leaf in history.model.items())


@pytest.mark.parametrize("server", [SGD(1.0), SGD(0.5, momentum=0.9)], ids=repr)
def test_frozen_parameters_are_the_same_after_many_rounds(server: SGD) -> None:
    module = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    module[0].requires_grad_(False)
    model = TorchModel(module, F.cross_entropy)
    local = LocalTraining(model, SGD(0.1, weight_decay=0.1), epochs=1)
    trained = Federation.simulate(DATA).run(Experiment(model, FedAvg(local, 3, server=server))).history.model
    for name, tensor in module.state_dict().items():
        assert np.array_equal(trained[name], tensor.numpy()) == name.startswith("0.")


def test_a_model_in_bfloat16_learns_over_rounds_and_stays_bfloat16() -> None:
    data = DATA.with_transform(lambda batch: {**batch, "x": batch["x"].astype(ml_dtypes.bfloat16)})
    model = TorchModel(lambda: nn.Linear(5, 3, dtype=torch.bfloat16), F.cross_entropy)
    experiment = Experiment(model, FedAvg(LocalTraining(model, SGD(0.1), batch_size=8, epochs=2), 5))
    history = Federation.simulate(data).run(experiment).history
    assert {leaf.dtype.name for leaf in history.model.values()} == {"bfloat16"}
    losses = [entry.metrics.value("loss") for entry in history.entries]
    assert losses[-1] < 0.8 * losses[0]


def test_a_parameter_without_an_axis_is_trained_and_saved(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.scale = nn.Linear(5, 3), nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) * self.scale  # type: ignore[no-any-return]

    model = TorchModel(Scaled, F.cross_entropy)
    history = (
        Federation.simulate(DATA).run(Experiment(model, FedAvg(LocalTraining(model, SGD(0.1), epochs=1), 2))).history
    )
    assert history.model["scale"] != 1
    save_results(history, tmp_path)
    assert load_results(tmp_path).model["scale"].shape == ()
