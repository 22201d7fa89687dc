"""Optimisers against PyTorch's, and the servers' against an independent transcription of the paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.algorithms import fedadagrad, fedadam, fedavgm, fedyogi, server_init, server_step
from hansa.core.tree import Tree
from hansa.errors import ConfigError
from hansa.training import SGD, Adagrad, Adam, Optimizer, Yogi

RATES = st.floats(1e-3, 0.5)
DECAYS = st.floats(0.0, 0.99)
LEAVES = {"w": (3, 2), "b": (4,)}
NO_BUFFERS: frozenset[str] = frozenset()


def drawn(seed: int, steps: int, dtype: Any = np.float32) -> tuple[Tree, list[Tree]]:
    generator = np.random.default_rng(seed)

    def tree() -> Tree:
        return {name: generator.standard_normal(shape).astype(dtype) for name, shape in LEAVES.items()}

    return tree(), [tree() for _ in range(steps)]


Pair = tuple[Optimizer, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    rate, decay = draw(RATES), draw(st.sampled_from([0.0, 0.01, 0.1]))
    kind = draw(st.sampled_from(["sgd", "nesterov", "adam", "adamw", "adagrad"]))
    if kind in ("sgd", "nesterov"):
        momentum = draw(st.floats(0.1, 0.99) if kind == "nesterov" else DECAYS)
        ours = SGD(rate, momentum=momentum, nesterov=kind == "nesterov", weight_decay=decay)
        return ours, lambda p: torch.optim.SGD(
            p, lr=rate, momentum=momentum, nesterov=kind == "nesterov", weight_decay=decay
        )
    if kind == "adagrad":
        initial = draw(st.sampled_from([0.0, 0.1]))
        return Adagrad(rate, initial=initial), lambda p: torch.optim.Adagrad(
            p, lr=rate, initial_accumulator_value=initial
        )
    betas, epsilon = (draw(DECAYS), draw(st.floats(0.5, 0.9999))), draw(st.sampled_from([1e-8, 1e-3]))
    if kind == "adam":
        return Adam(rate, *betas, epsilon=epsilon), lambda p: torch.optim.Adam(p, lr=rate, betas=betas, eps=epsilon)
    ours_w = Adam(rate, *betas, epsilon=epsilon, weight_decay=decay)
    return ours_w, lambda p: torch.optim.AdamW(p, lr=rate, betas=betas, eps=epsilon, weight_decay=decay)


@settings(max_examples=120)
@given(pairs(), st.integers(0, 9999), st.integers(1, 7), st.booleans())
def test_optimisers_compute_what_pytorch_s_do(pair: Pair, seed: int, steps: int, on_tensors: bool) -> None:
    ours, theirs = pair
    params, gradients = drawn(seed, steps)
    modules = {name: torch.nn.Parameter(torch.tensor(leaf)) for name, leaf in params.items()}
    reference = theirs(list(modules.values()))
    rate = float(reference.param_groups[0]["lr"])
    given_params: Any = {name: torch.tensor(leaf) for name, leaf in params.items()} if on_tensors else params
    state = ours.init(given_params)
    for step, gradient in enumerate(gradients):
        factor = 1.0 / (1 + step)
        reference.param_groups[0]["lr"] = rate * factor
        for name, parameter in modules.items():
            parameter.grad = torch.tensor(gradient[name])
        reference.step()
        handed: Any = {name: torch.tensor(leaf) for name, leaf in gradient.items()} if on_tensors else gradient
        given_params, state = ours.step(given_params, handed, state, factor)
        assert state.steps == step + 1
        for name, parameter in modules.items():
            found = np.asarray(given_params[name])
            assert found.dtype == np.float32
            assert np.allclose(found, parameter.detach().numpy(), rtol=2e-5, atol=2e-6)


@settings(max_examples=60)
@given(pairs(), st.integers(0, 9999))
def test_a_step_changes_nothing_that_it_is_given(pair: Pair, seed: int) -> None:
    optimizer = pair[0]
    params, (first, second) = drawn(seed, 2)
    state = optimizer.init(params)
    params, state = optimizer.step(params, first, state)
    copies = [{name: leaf.copy() for name, leaf in tree.items()} for tree in (params, second, *state.slots.values())]
    one = optimizer.step(params, second, state)
    for tree, copy in zip((params, second, *state.slots.values()), copies, strict=True):
        assert all(np.array_equal(tree[name], copy[name]) for name in copy)
    other = optimizer.step(params, second, state)
    assert all(np.array_equal(one[0][name], other[0][name]) for name in params)


# --- Reddi et al. 2021, Algorithm 2, and Hsu et al. 2019, section 4.2, as they stand there


def reference_fedopt(
    kind: str, x: Tree, deltas: list[Tree], eta: float, beta1: float, beta2: float, tau: float
) -> list[Tree]:
    m = {name: np.zeros_like(leaf) for name, leaf in x.items()}
    v = {name: np.full_like(leaf, tau * tau) for name, leaf in x.items()}
    models = []
    for delta in deltas:
        new = {}
        for name, d in delta.items():
            if kind == "fedavgm":
                m[name] = beta1 * m[name] + d
                new[name] = x[name] + eta * m[name]
                continue
            m[name] = beta1 * m[name] + (1 - beta1) * d
            if kind == "fedadagrad":
                v[name] = v[name] + d**2
            elif kind == "fedyogi":
                v[name] = v[name] - (1 - beta2) * d**2 * np.sign(v[name] - d**2)
            else:
                v[name] = beta2 * v[name] + (1 - beta2) * d**2
            new[name] = x[name] + eta * m[name] / (np.sqrt(v[name]) + tau)
        x = new
        models.append(x)
    return models


@settings(max_examples=100)
@given(
    st.sampled_from(["fedavgm", "fedadagrad", "fedadam", "fedyogi"]),
    st.floats(1e-3, 2.0),
    DECAYS,
    st.floats(0.5, 0.999),
    st.sampled_from([1e-3, 1e-1, 1e-9]),
    st.integers(0, 9999),
)
def test_servers_move_the_model_as_the_papers_say(
    kind: str, eta: float, beta1: float, beta2: float, tau: float, seed: int
) -> None:
    params, deltas = drawn(seed, 5, np.float64)
    deltas[2] = {name: np.zeros_like(leaf) for name, leaf in deltas[2].items()}  # a round without a change
    optimizer = {
        "fedavgm": lambda: fedavgm(eta, beta1),
        "fedadagrad": lambda: fedadagrad(eta, tau),
        "fedadam": lambda: fedadam(eta, beta1, beta2, tau),
        "fedyogi": lambda: fedyogi(eta, beta1, beta2, tau),
    }[kind]()
    expected = reference_fedopt(kind, params, deltas, eta, 0.0 if kind == "fedadagrad" else beta1, beta2, tau)
    state = server_init(optimizer, params, NO_BUFFERS)
    for delta, model in zip(deltas, expected, strict=True):
        params, state = server_step(optimizer, params, delta, state, NO_BUFFERS)
        for name, leaf in model.items():
            assert np.allclose(params[name], leaf, rtol=1e-10, atol=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 9999))
def test_plain_averaging_moves_the_model_by_the_mean_change_to_the_bit(seed: int) -> None:
    params, (delta,) = drawn(seed, 1)
    moved, _ = server_step(SGD(1.0), params, delta, SGD(1.0).init(params), NO_BUFFERS)
    assert all(np.array_equal(moved[name], params[name] + delta[name]) for name in params)


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1), SGD(0.1, momentum=0.9, nesterov=True), fedadam(), fedyogi(), fedadagrad()], ids=repr
)
def test_leaves_without_an_axis_are_moved_like_others(optimizer: Optimizer) -> None:
    scalar, vector = {"w": np.array(1.0, np.float32)}, {"w": np.ones(1, np.float32)}
    small, large = optimizer.init(scalar), optimizer.init(vector)
    for change in (0.5, -0.25):
        scalar, small = optimizer.step(scalar, {"w": np.array(change, np.float32)}, small)
        vector, large = optimizer.step(vector, {"w": np.array([change], np.float32)}, large)
    assert float(scalar["w"]) == float(vector["w"][0])
    assert scalar["w"].dtype == np.float32


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: SGD(0.0), "learning_rate is a positive number, not 0.0"),
        (lambda: SGD(float("nan")), "learning_rate is a positive number, not nan"),
        (lambda: SGD(0.1, momentum=1.0), r"momentum lies in \[0, 1\), not 1.0"),
        (lambda: Adam(-1.0), "learning_rate is a positive number, not -1.0"),
        (lambda: Adam(0.1, beta2=1.0), "beta2 lies in"),
        (lambda: Adam(0.1, epsilon=0.0), "epsilon is a positive number"),
        (lambda: Adagrad(0.1, beta1=-0.1), "beta1 lies in"),
        (lambda: Yogi(0.1, beta2=1.5), "beta2 lies in"),
    ],
)
def test_settings_that_make_no_sense_are_named(make: Callable[[], Optimizer], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        make()
