"""TorchModel's native side: modules of the caller's own, and what tasks ask of PyTorch besides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hansa.core.keys import key
from hansa.errors import ConfigError, TreeMismatch
from hansa.models.torch import TorchModel
from hansa.testing.laws import unlike_bits
from hansa.training.tasks.framework import Habits, OptimizerStates


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, dtype=torch.float64))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight


@pytest.mark.parametrize("module", [normed, Tied, lambda: nn.Linear(4, 2, dtype=torch.bfloat16)])
def test_what_is_extracted_is_what_was_given(module: type[nn.Module]) -> None:
    model = TorchModel(module, F.cross_entropy)
    params = model.init(key(3))
    native = model.native(params, "cpu")
    assert native.training
    assert not unlike_bits(model.extract(native), params)


def test_the_native_module_is_the_callers_own() -> None:
    module = normed()
    model = TorchModel(module, F.cross_entropy)
    params = model.init(key(0))
    native, other = model.native(params), model.native(params)
    before = model.extract(native)
    with torch.no_grad():
        for tensor in native.state_dict().values():
            tensor.add_(1)
    assert not unlike_bits(model.extract(other), params)
    assert not unlike_bits(model.init(key(0)), params)
    assert not unlike_bits(before, params)
    assert unlike_bits(model.extract(native), params)
    extracted = model.extract(other)
    extracted["0.weight"][...] = 0
    assert not unlike_bits(model.extract(other), params)


def test_frozen_parameters_stay_frozen() -> None:
    module = normed()
    module[0].requires_grad_(False)  # type: ignore[index]  # a Sequential
    native = TorchModel(module, F.cross_entropy).native(TorchModel(module, F.cross_entropy).init(key(0)))
    frozen = {name for name, parameter in native.named_parameters() if not parameter.requires_grad}
    assert frozen == {"0.weight", "0.bias"}


def test_parameters_of_another_model_are_refused() -> None:
    model = TorchModel(lambda: nn.Linear(2, 2), F.cross_entropy)
    with pytest.raises(TreeMismatch, match=r"missing \['bias', 'weight'\], unexpected \['w'\]"):
        model.native({"w": np.zeros(1, np.float32)})


def test_it_offers_all_that_tasks_ask_of_a_framework() -> None:
    model = TorchModel(normed, F.cross_entropy)
    assert isinstance(model, Habits)
    assert isinstance(model, OptimizerStates)


def test_seeding_is_by_key_and_leaves_the_generator_where_it_was() -> None:
    model, before = TorchModel(normed, F.cross_entropy), torch.random.get_rng_state()
    drawn = []
    for seed in (0, 0, 1):
        with model.seeded(key(seed)):
            drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_optimizers_state_survives_the_way_out_and_back() -> None:
    model = TorchModel(normed, F.cross_entropy)
    params = model.init(key(0))

    def stepped(native: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for number, parameter in enumerate(native.parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
        optimizer.step()

    one, other = model.native(params), model.native(params)
    first, second = (torch.optim.AdamW(each.parameters(), amsgrad=True) for each in (one, other))
    stepped(one, first)
    model.load_optimizer(other, second, model.optimizer_state(one, first))
    assert not unlike_bits(model.optimizer_state(other, second), model.optimizer_state(one, first))
    other.load_state_dict(one.state_dict())
    stepped(one, first)
    stepped(other, second)
    assert not unlike_bits(model.extract(one), model.extract(other))
    assert model.optimizer_state(one, first)["exp_avg/2.weight"].dtype == np.float64


def test_a_form_needs_a_torch_optimizer_that_steps_without_a_closure() -> None:
    model = TorchModel(normed, F.cross_entropy)
    native = model.native(model.init(key(0)))
    with pytest.raises(ConfigError, match="LBFGS cannot be kept or federated: its step takes a closure"):
        model.optimizer_form(native, torch.optim.LBFGS(native.parameters()))
