"""TorchModel: what it makes of modules, and what it says of data that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.errors import ConfigError, DataError
from hansa.models.torch import TorchModel


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def batch(**fields: Any) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return {"x": generator.standard_normal((6, 4)).astype(np.float32), "y": np.arange(6) % 3, **fields}


def model(module: Any = mlp, loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy, **names: Any) -> TorchModel:
    return TorchModel(module, loss, **names)


def gradient(of: TorchModel, params: Tree, data: dict[str, Any]) -> Tree:
    return of.dump(of.gradient(of.load(params), data, key(0)).gradient)


def test_leaves_have_the_names_and_order_of_the_state_dict() -> None:
    assert list(model().init(key(0))) == list(mlp().state_dict())


def test_a_new_module_draws_what_pytorch_would_draw_from_that_seed() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(key(5).integer(63))
        expected = mlp().state_dict()
    found = model().init(key(5))
    assert all(np.array_equal(found[name], tensor.numpy()) for name, tensor in expected.items())


def test_a_module_gives_its_own_parameters_and_later_changes_to_it_are_not_seen() -> None:
    module = mlp()
    wrapped, before = model(module), {name: tensor.clone().numpy() for name, tensor in module.state_dict().items()}
    nn.init.zeros_(module[0].weight)  # type: ignore[index]  # a Sequential
    for seed in (0, 1):
        found = wrapped.init(key(seed))
        assert all(np.array_equal(found[name], leaf) for name, leaf in before.items())


def test_training_with_a_model_leaves_the_module_that_was_given_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    wrapped = model(module)
    gradient(wrapped, wrapped.init(key(0)), batch())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_the_gradient_is_pytorch_s_own() -> None:
    wrapped, module, data = model(), mlp(), batch()
    params = wrapped.init(key(1))
    module.load_state_dict({name: torch.tensor(leaf) for name, leaf in params.items()})
    loss = F.cross_entropy(module(torch.tensor(data["x"])), torch.tensor(data["y"]))
    expected = torch.autograd.grad(loss, list(module.parameters()))
    found = gradient(wrapped, params, data)
    for (name, _), wanted in zip(module.named_parameters(), expected, strict=True):
        assert np.array_equal(found[name], wanted.numpy())


def test_batchnorm_s_statistics_and_frozen_parameters_are_buffers() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    module[0].bias.requires_grad_(False)
    assert model(module).buffers == {"1.running_mean", "1.running_var", "1.num_batches_tracked", "0.bias"}
    assert "0.bias" not in gradient(model(module), model(module).init(key(0)), batch())


def test_training_gives_new_statistics_and_prediction_uses_the_old() -> None:
    wrapped = model(lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    params, data = wrapped.init(key(0)), batch()
    buffers = wrapped.dump(wrapped.gradient(wrapped.load(params), data, key(0)).buffers)
    seen = data["x"] @ params["0.weight"].T + params["0.bias"]
    assert np.allclose(buffers["1.running_mean"], 0.1 * seen.mean(axis=0), atol=1e-6)
    assert np.allclose(buffers["1.running_var"], 0.9 + 0.1 * seen.var(axis=0, ddof=1), atol=1e-6)
    assert buffers["1.num_batches_tracked"] == 1
    outputs = wrapped.predict(wrapped.load(params), data).outputs
    assert np.allclose(outputs, seen / np.sqrt(1 + 1e-5), atol=1e-5)


def test_dropout_draws_by_the_key_when_training_and_not_at_all_when_predicting() -> None:
    wrapped = model(lambda: nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 3)))
    resident = wrapped.load(wrapped.init(key(0)))
    losses = {float(wrapped.gradient(resident, batch(), key(0, n)).loss) for n in (1, 2, 3, 1, 2, 3)}
    assert len(losses) == 3
    assert wrapped.predict(resident, batch()).loss == wrapped.predict(resident, batch()).loss


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_dtypes_that_numpy_lacks_are_carried_bit_for_bit(dtype: torch.dtype) -> None:
    values = torch.tensor([[1.5, -2.0], [0.0, 448.0]]).to(dtype)
    wrapped = model()
    dumped = wrapped.dump({"w": values, "scalar": values[0, 0]})
    assert dumped["w"].dtype.name == str(dtype).removeprefix("torch.")
    assert dumped["w"].astype(np.float32).tolist() == values.float().tolist()
    back = wrapped.load(dumped)
    assert back["w"].dtype == dtype
    assert back["scalar"].shape == ()
    assert torch.equal(back["w"].view(torch.uint8), values.view(torch.uint8))


def test_a_model_in_bfloat16_is_bfloat16_all_the_way() -> None:
    wrapped = model(lambda: mlp().to(torch.bfloat16), loss=lambda o, t: F.cross_entropy(o.float(), t))
    params = wrapped.init(key(0))
    data = batch(x=batch()["x"].astype(ml_dtypes.bfloat16))
    assert {leaf.dtype.name for leaf in params.values()} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in gradient(wrapped, params, data).values()} == {"bfloat16"}
    assert wrapped.predict(wrapped.load(params), data).outputs.dtype == np.float32


def test_a_trained_model_is_taken_out_as_a_module_of_its_own() -> None:
    wrapped = model(lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    params, data = wrapped.init(key(3)), batch()
    module = wrapped.loaded(params)
    assert not module.training
    with torch.no_grad():
        outputs = module(torch.tensor(data["x"])).numpy()
    assert np.array_equal(outputs, wrapped.predict(wrapped.load(params), data).outputs)
    nn.init.zeros_(module[0].weight)  # type: ignore[index]  # a Sequential
    assert np.array_equal(wrapped.loaded(params)(torch.tensor(data["x"])).detach().numpy(), outputs)


# --- what is wrong, where, and what to do


def test_a_function_that_makes_no_module_is_named() -> None:
    with pytest.raises(ConfigError, match=r"module function of a TorchModel returned dict, not an nn.Module") as caught:
        model(dict).init(key(0))
    assert "what to do: pass a module, its class" in str(caught.value)


@pytest.mark.parametrize(("fields", "missing"), [({"z": "x", "y": "y"}, "x"), ({"x": "x", "label": "y"}, "y")])
def test_a_field_that_is_missing_is_named_with_those_that_there_are(fields: dict[str, str], missing: str) -> None:
    data = {name: batch()[source] for name, source in fields.items()}
    wrapped = model()
    for use in (lambda p: wrapped.predict(p, data), lambda p: wrapped.gradient(p, data, key(0))):
        with pytest.raises(DataError, match=f"needs the field '{missing}', and the data have") as caught:
            use(wrapped.load(wrapped.init(key(0))))
        assert all(repr(name) in str(caught.value) for name in fields)
        assert "inputs=..., target=..." in caught.value.hint


@pytest.mark.parametrize(("label", "said"), [(3, "a label is 3"), (-1, "a label is -1"), (100, "a label is 100")])
def test_a_label_without_an_output_is_told_in_the_user_s_words(label: int, said: str) -> None:
    wrapped, labels = model(), np.arange(6) % 3
    labels[4] = label
    for use in (
        lambda p, b: wrapped.predict(p, b),
        lambda p, b: wrapped.gradient(p, b, key(0)),
    ):
        with pytest.raises(
            DataError, match=f"{said}, but the model tells 3 classes apart, numbered from 0 to 2"
        ) as caught:
            use(wrapped.load(wrapped.init(key(0))), batch(y=labels))
        assert "last layer" in caught.value.hint
        assert caught.value.__cause__ is not None


def test_another_error_of_the_loss_stays_what_it_is() -> None:
    wrapped = model(loss=lambda outputs, target: F.cross_entropy(outputs, target[:-1]))
    with pytest.raises(ValueError, match="batch_size") as caught:
        wrapped.predict(wrapped.load(wrapped.init(key(0))), batch())
    assert not isinstance(caught.value, DataError)


def test_several_inputs_are_handed_over_in_their_order() -> None:
    class Subtract(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a - b) * self.scale

    wrapped = model(Subtract, loss=F.mse_loss, inputs=("a", "b"), target="t")
    data = {"a": np.full((2, 1), 5, np.float32), "b": np.full((2, 1), 2, np.float32), "t": np.zeros((2, 1), np.float32)}
    loss, outputs = wrapped.predict(wrapped.load(wrapped.init(key(0))), data)
    assert outputs.tolist() == [[3], [3]]
    assert loss == 9
