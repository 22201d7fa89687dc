"""The NumPy network: the same as PyTorch's, and what it says of data that do not fit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hansa.core.keys import key
from hansa.errors import ConfigError, DataError
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel


def batch(dtype: Any = np.float32, **fields: Any) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return {"x": generator.standard_normal((7, 2, 3)).astype(dtype), "y": np.arange(7) % 4, **fields}


@pytest.mark.parametrize("sizes", [(6, 4), (6, 8, 4), (6, 8, 5, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_loss_outputs_and_gradient_are_pytorch_s(sizes: tuple[int, ...], dtype: str, tolerance: float) -> None:
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, dtype=getattr(torch, dtype)), nn.ReLU()]
    theirs, ours = TorchModel(nn.Sequential(*layers[:-1]), F.cross_entropy), NumpyMLP(sizes, dtype=dtype)
    params, data = ours.init(key(4)), batch(dtype)
    if len(sizes) == 2:
        drawn = np.random.default_rng(1).standard_normal(params["layer1.weight"].shape)
        params["layer1.weight"] = np.asarray(drawn, dtype)
    renamed = dict(zip(theirs.init(key(0)), params.values(), strict=True))
    loss, gradient, _ = ours.gradient(ours.load(params), data, key(0))
    their_loss, their_gradient, _ = theirs.gradient(theirs.load(renamed), data, key(0))
    assert float(loss) == pytest.approx(float(their_loss), rel=tolerance)
    for mine, other in zip(sorted(gradient), sorted(their_gradient), strict=True):
        assert gradient[mine].dtype == dtype
        assert np.allclose(gradient[mine], their_gradient[other].numpy(), rtol=tolerance, atol=tolerance)
    here, there = ours.predict(ours.load(params), data), theirs.predict(theirs.load(renamed), data)
    assert here.loss == pytest.approx(there.loss, rel=tolerance)
    assert np.allclose(here.outputs, there.outputs, rtol=1e-5, atol=1e-6)


def test_scores_that_are_far_apart_do_not_overflow() -> None:
    model = NumpyMLP((6, 4))
    params = {name: leaf + np.float32(1e4) * (leaf == 0) for name, leaf in model.init(key(0)).items()}
    params["layer1.bias"] = np.array([1e4, -1e4, 0, 5], np.float32)
    prediction = model.predict(model.load(params), batch())
    assert np.isfinite(prediction.loss)
    assert all(
        np.isfinite(leaf).all() for leaf in model.gradient(model.load(params), batch(), key(0)).gradient.values()
    )


def test_a_softmax_regression_begins_without_a_preference() -> None:
    model = NumpyMLP((6, 4))
    assert all(not leaf.any() for leaf in model.init(key(0)).values())
    assert model.predict(model.load(model.init(key(0))), batch()).loss == pytest.approx(np.log(4))


def test_hidden_layers_are_drawn_as_he_et_al_do() -> None:
    weight = NumpyMLP((200, 300, 2)).init(key(0))["layer1.weight"]
    assert weight.std() == pytest.approx(np.sqrt(2 / 200), rel=0.02)
    assert abs(weight.mean()) < 2e-3


@pytest.mark.parametrize("sizes", [(), (3,), (3, 0), (-1, 2)])
def test_sizes_that_make_no_network_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="sizes go from the inputs to the classes"):
        NumpyMLP(sizes)


def test_inputs_of_another_width_are_told_with_what_would_fit() -> None:
    model = NumpyMLP((5, 4))
    with pytest.raises(DataError, match="field 'x' has 6 numbers an example, and the model takes 5") as caught:
        model.predict(model.load(model.init(key(0))), batch())
    assert "sizes=(6, ...)" in str(caught.value)


@pytest.mark.parametrize("label", [4, -1])
def test_a_label_out_of_range_is_told_with_the_classes_that_there_are(label: int) -> None:
    model, labels = NumpyMLP((6, 4)), np.arange(7) % 4
    labels[3] = label
    resident = model.load(model.init(key(0)))
    for use in (lambda b: model.predict(resident, b), lambda b: model.gradient(resident, b, key(0))):
        with pytest.raises(DataError, match=f"a label is {label}, but the model tells 4 classes apart") as caught:
            use(batch(y=labels))
        assert "what to do: check the labels" in str(caught.value)


@pytest.mark.parametrize("missing", ["x", "y"])
def test_a_field_that_is_missing_is_named_with_those_that_there_are(missing: str) -> None:
    model = NumpyMLP((6, 4))
    data = {name: values for name, values in batch(z=np.zeros(7)).items() if name != missing}
    with pytest.raises(DataError, match=f"'{missing}'.*'z'"):
        model.predict(model.load(model.init(key(0))), data)


def test_labels_with_an_axis_too_many_are_refused() -> None:
    model = NumpyMLP((6, 4))
    with pytest.raises(DataError, match="shape"):
        model.gradient(model.load(model.init(key(0))), batch(y=(np.arange(7) % 4)[:, None]), key(0))
