"""Data that cannot be trained on are told with what is wrong, where, and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn import functional as F

from hansa.algorithms import FedAvg
from hansa.core.history import History
from hansa.core.sampling import FixedClients, UniformSampler
from hansa.data import ClientDataset, FederatedData, Field
from hansa.errors import CohortTooLarge, DataError, RunFailed, UnknownName
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.testing import blobs
from hansa.training import SGD, LocalTraining

DATA = blobs(3)
MODEL = NumpyMLP((5, 3))
TORCH = TorchModel(lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), F.cross_entropy)


def run(algorithm: Any, data: Any = DATA, model: Any = MODEL) -> History:
    return Federation.simulate(data).run(Experiment(model, algorithm)).history


def failing(algorithm: Any, data: Any = DATA, model: Any = MODEL) -> RunFailed:
    with pytest.raises(RunFailed) as caught:
        run(algorithm, data, model)
    return caught.value


def columns(client: str, **replaced: Any) -> ClientDataset:
    return ClientDataset({**DATA[client].all(), **replaced})


def with_a_nan(x: Any) -> Any:
    x = x.copy()
    x[2, 1] = np.nan
    return x


GOOD = DATA["1"].all()
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "NaN": (
        {"x": with_a_nan(GOOD["x"])},
        ["1 value is NaN or infinite, the first in example 2", "fill in what is missing"],
    ),
    "shape": ({"x": GOOD["x"][:, :4]}, ["shape (4,), expected (5,)", "client '0'", "reshape them"]),
    "dtype": (
        {"x": GOOD["x"].astype(np.float64)},
        ["are float64, expected float32", "client '0'", ".astype('float32')"],
    ),
    "label": ({"y": GOOD["y"] + 5}, ["but the model tells 3 classes apart", "check the labels"]),
}


@pytest.mark.parametrize("model", [MODEL, TORCH], ids=["NumPy", "PyTorch"])
@pytest.mark.parametrize("kind", BAD)
def test_data_that_cannot_be_trained_on_are_told_with_what_where_and_what_to_do(kind: str, model: Any) -> None:
    bad, said = BAD[kind]
    data = {"0": DATA["0"], "1": columns("1", **bad)}
    failure = failing(FedAvg(LocalTraining(model, SGD(0.1), epochs=1), 1), data, model)
    assert isinstance(failure.__cause__, DataError)
    assert "1: failed: DataError" in str(failure)
    for words in (*said, "round 1", "what to do"):
        assert words in str(failure)
    if kind != "label":
        assert "client '1', field 'x'" in str(failure)


def test_labels_beyond_the_declared_classes_are_told_by_the_schema() -> None:
    schema = {"x": Field((5,), "float32"), "y": Field((), "int64", classes=3)}
    labels = DATA["1"].all()["y"].copy()
    labels[4] = 3
    data = FederatedData({"0": DATA["0"], "1": columns("1", y=labels)}, schema=schema)
    failure = failing(FedAvg(LocalTraining(MODEL, SGD(0.1), epochs=1), 1), data)
    assert isinstance(failure.__cause__, DataError)
    for words in ("outside the 3 classes [0, 3)", "example 4", "client '1'", "field 'y'", "number the classes from 0"):
        assert words in str(failure)


def test_a_field_that_a_client_lacks_is_told() -> None:
    data = {"0": DATA["0"], "1": ClientDataset({"x": DATA["1"].all()["x"]})}
    failure = failing(FedAvg(LocalTraining(MODEL, SGD(0.1), epochs=1), 1), data)
    for words in ("the field is missing", "client '1'", "field 'y'", "client '0'", "add the field"):
        assert words in str(failure)


def test_an_owner_without_data_is_told_before_the_run_begins() -> None:
    with pytest.raises(DataError, match="no examples to train on") as caught:
        Federation.simulate({"0": DATA["0"], "empty": DATA["1"].take(0)})
    assert "client 'empty'" in str(caught.value)
    assert "leave it out of the training split" in caught.value.hint


def test_a_client_that_does_not_train_and_is_asked_to_by_name_is_told() -> None:
    data = FederatedData({"0": DATA["0"]}, {"judge": DATA["1"]})
    with pytest.raises(UnknownName, match="no client 'judge'") as caught:
        run(FedAvg(LocalTraining(MODEL, SGD(0.1), epochs=1), 1, FixedClients(["judge"])), data)
    assert "what to do: choose one of: 0" in str(caught.value)


def test_nobody_who_trains_is_too_few() -> None:
    with pytest.raises(CohortTooLarge, match="only 0 clients can be asked") as caught:
        run(FedAvg(LocalTraining(MODEL, SGD(0.1), epochs=1), 1), FederatedData({}, {"judge": DATA["0"]}))
    assert "trainers need data in their training split" in str(caught.value)


def test_a_cohort_larger_than_the_population_is_told_with_both_numbers() -> None:
    with pytest.raises(CohortTooLarge, match="a cohort of 4 is asked for, but only 3 clients can be asked") as caught:
        run(FedAvg(LocalTraining(MODEL, SGD(0.1), epochs=1), 1, UniformSampler(4)))
    assert "what to do: ask for fewer clients a round" in str(caught.value)
