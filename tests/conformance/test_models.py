"""Every Model adapter passes the published kit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hansa.models import Batch, NumpyMLP
from hansa.models.torch import TorchModel
from hansa.testing import check_model


def batch(*shape: int, size: int = 6, classes: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    x = generator.standard_normal((size, *shape)).astype(np.float32)
    return {"x": x, "y": generator.integers(classes, size=size)}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


class Convolutions(nn.Module):
    """With BatchNorm: statistics and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4 * 2 * 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.norm(self.conv(x))).flatten(1))  # type: ignore[no-any-return]


class Narrow(nn.Module):
    """bfloat16 inside; the inputs come as float32."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp().to(torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.to(torch.bfloat16))  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """A parameter without an axis, and one that the loss does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.scale, self.idle = (
            nn.Linear(8, 3),
            nn.Parameter(torch.tensor(1.5)),
            nn.Parameter(torch.ones(2)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.scale  # type: ignore[no-any-return]


class TwoInputs(nn.Module):
    """Called with two fields of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 3), nn.Linear(2, 3, bias=False)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.left(x) + torch.tanh(self.right(z))  # type: ignore[no-any-return]


def frozen_body() -> nn.Module:
    module = mlp()
    module[1].requires_grad_(False)  # type: ignore[index]
    return module


class Tied(nn.Module):
    """One parameter under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))  # type: ignore[no-any-return]


def of(module: Any, **names: Any) -> TorchModel:
    return TorchModel(module, F.cross_entropy, **names)


def regression(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(outputs.squeeze(1), targets)


CASES = {
    "MLP": (of(mlp), batch(8), {"random_init": True}),
    "MLP with images": (of(mlp), batch(2, 4), {"random_init": True}),
    "CNN with BatchNorm": (of(Convolutions), batch(1, 4, 4), {"random_init": True, "deterministic": False}),
    "dropout": (
        of(lambda: nn.Sequential(nn.Linear(8, 6), nn.Dropout(0.5), nn.Linear(6, 3))),
        batch(8),
        {"random_init": True, "deterministic": False},
    ),
    "bfloat16": (of(Narrow), batch(8), {"random_init": True, "deterministic": False}),
    "a module": (of(mlp()), batch(8), {}),
    "a module, partly frozen": (of(frozen_body()), batch(8), {}),
    "frozen by its class": (of(frozen_body), batch(8), {"random_init": True}),
    "a scalar and an idle parameter": (of(Scaled), batch(8), {"random_init": True}),
    "two inputs": (
        of(TwoInputs, inputs=("x", "z")),
        {**batch(8), "z": np.random.default_rng(2).standard_normal((6, 2)).astype(np.float32)},
        {"random_init": True},
    ),
    "regression": (
        TorchModel(lambda: nn.Linear(8, 1), regression, target="t"),
        {**batch(8), "t": np.linspace(-1, 1, 6, dtype=np.float32)},
        {"random_init": True},
    ),
    "NumPy softmax regression": (NumpyMLP((8, 3)), batch(8), {}),
    "NumPy MLP": (NumpyMLP((8, 6, 5, 3)), batch(8), {"random_init": True}),
    "NumPy MLP in float64": (
        NumpyMLP((8, 6, 3), dtype="float64"),
        batch(2, 4),
        {"random_init": True, "tolerance": 1e-3},
    ),
}


@pytest.mark.parametrize(("model", "examples", "said"), CASES.values(), ids=CASES)
def test_every_adapter_keeps_the_promises_of_the_model_port(model: Any, examples: Batch, said: dict[str, Any]) -> None:
    check_model(model, examples, **said)


def test_a_module_with_tied_parameters_keeps_the_promises() -> None:
    check_model(of(Tied), batch(8), random_init=True)


class Counting(nn.Module):
    """A buffer that is not part of the model's leaves, and that every forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.register_buffer("calls", torch.ones(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls: torch.Tensor
        self.calls += 1
        return self.linear(x) / self.calls  # type: ignore[no-any-return]


def test_nothing_that_one_client_computes_is_left_behind_in_the_module_for_the_next() -> None:
    check_model(of(Counting), batch(8), random_init=True)
