"""Schedules by round, and what clipping and the proximal term do to a gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from hansa.core import tree
from hansa.errors import ConfigError
from hansa.training import Chain, ClipNorm, Constant, CosineDecay, ExponentialDecay, Proximal, Schedule, Warmup


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), [1, 1, 1]),
        (ExponentialDecay(0.5), [1, 0.5, 0.25, 0.125]),
        (CosineDecay(5), [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0, 0, 0]),
        (CosineDecay(3, floor=0.2), [1, 0.6, 0.2, 0.2]),
        (CosineDecay(1), [1]),
        (Warmup(4), [0.25, 0.5, 0.75, 1, 1, 1]),
        (Warmup(2, ExponentialDecay(0.1)), [0.5, 1, 1, 0.1, 0.01]),
    ],
)
def test_a_schedule_is_a_factor_by_round_and_the_first_round_is_1(schedule: Schedule, factors: list[float]) -> None:
    found = [schedule(round_) for round_ in range(1, len(factors) + 1)]
    assert found == pytest.approx(factors, abs=1e-12)
    assert all(isinstance(factor, float) for factor in found)


GRADIENT = {"a": np.array([3.0, 0.0], np.float32), "b": np.array([[4.0]], np.float32)}


def test_a_long_gradient_is_scaled_down_over_all_leaves_together() -> None:
    found = ClipNorm(1.0)(GRADIENT, GRADIENT, GRADIENT)
    assert found["a"].tolist() == pytest.approx([0.6, 0])
    assert found["b"].tolist() == [pytest.approx([0.8])]
    assert tree.norm(found) == pytest.approx(1.0)
    assert {leaf.dtype for leaf in found.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("bound", [5.0, 5.1, 1e9])
def test_a_short_gradient_is_left_as_it_is_to_the_bit(bound: float) -> None:
    found = ClipNorm(bound)(GRADIENT, GRADIENT, GRADIENT)
    assert all(np.array_equal(found[name], GRADIENT[name]) for name in GRADIENT)


def test_no_gradient_is_clipped_to_no_gradient() -> None:
    zero = tree.zeros_like(GRADIENT)
    assert not any(leaf.any() for leaf in ClipNorm(1.0)(zero, zero, zero).values())


@pytest.mark.parametrize("bound", [0.5, 100.0])
def test_tensors_are_clipped_as_pytorch_does(bound: float) -> None:
    tensors: Any = {name: torch.tensor(leaf) for name, leaf in GRADIENT.items()}
    found = ClipNorm(bound)(tensors, tensors, tensors)
    parameters = [torch.nn.Parameter(torch.zeros_like(tensor)) for tensor in tensors.values()]
    for parameter, tensor in zip(parameters, tensors.values(), strict=True):
        parameter.grad = tensor.clone()
    torch.nn.utils.clip_grad_norm_(parameters, bound)
    for parameter, leaf in zip(parameters, found.values(), strict=True):
        assert parameter.grad is not None
        assert np.allclose(np.asarray(leaf), parameter.grad.numpy(), rtol=1e-5)


def test_the_proximal_term_is_the_gradient_of_the_penalty() -> None:
    now = {
        name: torch.randn(leaf.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
        for name, leaf in GRADIENT.items()
    }
    start = {name: torch.full(leaf.shape, 0.5) for name, leaf in GRADIENT.items()}
    gradient = {name: torch.tensor(leaf) for name, leaf in GRADIENT.items()}
    mu = 0.7
    linear = torch.stack([(gradient[name] * x).sum() for name, x in now.items()]).sum()
    penalty = torch.stack([((x - start[name]) ** 2).sum() for name, x in now.items()]).sum() * (mu / 2)
    expected = torch.autograd.grad(linear + penalty, list(now.values()))
    given: Any = ({name: x.detach() for name, x in each.items()} for each in (gradient, now, start))
    found = Proximal(mu)(*given)
    for leaf, wanted in zip(found.values(), expected, strict=True):
        assert np.allclose(np.asarray(leaf), wanted.numpy(), rtol=1e-6)


def test_a_chain_of_nothing_changes_nothing_and_others_go_in_order() -> None:
    assert Chain()(GRADIENT, GRADIENT, GRADIENT) is GRADIENT
    start = tree.zeros_like(GRADIENT)
    first_clipped = Chain((ClipNorm(1.0), Proximal(1.0)))(GRADIENT, GRADIENT, start)
    last_clipped = Chain((Proximal(1.0), ClipNorm(1.0)))(GRADIENT, GRADIENT, start)
    assert tree.norm(first_clipped) == pytest.approx(6.0)
    assert tree.norm(last_clipped) == pytest.approx(1.0)


def test_bounds_and_penalties_that_make_no_sense_are_refused() -> None:
    for make, what in (
        (lambda: ClipNorm(0.0), "bound on the norm is positive"),
        (lambda: Proximal(-1.0), "at least 0"),
    ):
        with pytest.raises(ConfigError, match=what):
            make()
    with pytest.raises(ConfigError, match="at least 0"):
        Proximal(float("nan"))
