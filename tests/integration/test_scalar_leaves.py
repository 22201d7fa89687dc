"""Leaves without a dimension: they train, travel and are saved like all others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import hansa


class Scaled(nn.Module):
    """A layer with a temperature, as contrastive models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.temperature = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layer(x) * self.temperature
        return scores


def counted() -> nn.Module:
    """BatchNorm counts its batches in an int64 without a dimension."""
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))


def data() -> hansa.FederatedData:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(96, 6)).astype(np.float32)
    examples = hansa.ClientDataset({"x": x, "y": generator.integers(0, 3, 96)})
    return hansa.FederatedData.partition(examples, hansa.IID(3))


@pytest.mark.parametrize(
    "server", [hansa.SGD(1.0), hansa.fedavgm(0.5, 0.5), hansa.fedadam()], ids=["FedAvg", "FedAvgM", "FedAdam"]
)
@pytest.mark.parametrize(("module", "scalar"), [(counted, "1.num_batches_tracked"), (Scaled, "temperature")])
def test_a_model_with_a_scalar_leaf_is_trained_and_saved(
    module: type[nn.Module], scalar: str, server: hansa.SGD | hansa.Adam, tmp_path: Path
) -> None:
    model = hansa.TorchModel(module, cross_entropy)
    local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=16, steps=3)
    experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=2, server=server))
    history = hansa.Federation.simulate(data()).run(experiment).history
    initial = experiment.start()
    assert history.model[scalar] != initial[scalar]
    for name, leaf in history.model.items():
        assert isinstance(leaf, np.ndarray), name
        assert (leaf.shape, leaf.dtype) == (initial[name].shape, initial[name].dtype), name
    hansa.save_results(history, tmp_path)
    np.testing.assert_array_equal(hansa.load_results(tmp_path).model[scalar], history.model[scalar])
