"""Optax: its transformations as optimisers of ours, their state by name."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

import hansa
from hansa.core.keys import key
from hansa.core.work import ClientContext
from hansa.errors import ConfigError
from hansa.models.jax import JaxModel
from hansa.training.optax import Optax
from hansa.training.optimizers import SGD, Adam, Optimizer, OptimizerState

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def made(rng: Any) -> Any:
    return {"a": {"w": jax.random.normal(rng, (4, 3))}, "b": jnp.zeros(3)}


MODEL = JaxModel(made, lambda params, x: x @ params["a"]["w"] + params["b"], cross_entropy)
SHARD = {
    "train": hansa.ClientDataset(
        {"x": np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32), "y": np.arange(60) % 3}
    )
}

TRANSFORMATIONS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adam": optax.adam(0.05),
    "adamw, clipped, by a schedule": optax.chain(
        optax.clip_by_global_norm(0.5), optax.adamw(optax.cosine_decay_schedule(0.1, 50))
    ),
    "hyperparameters in the state": optax.inject_hyperparams(optax.adam)(learning_rate=0.05),
    "noise, with a key in its state": optax.chain(optax.sgd(0.1), optax.add_noise(0.01, 0.5, key=0)),
    "parts": optax.multi_transform({"adam": optax.adam(0.05), "sgd": optax.sgd(0.1)}, {"a/w": "adam", "b": "sgd"}),
    "bare": optax.scale_by_adam(),
}


def gradients(count: int) -> list[hansa.Tree]:
    generator = np.random.default_rng(1)
    shapes = {name: leaf.shape for name, leaf in MODEL.init(key(0)).items()}
    return [
        {name: np.asarray(generator.standard_normal(shape), np.float32) for name, shape in shapes.items()}
        for _ in range(count)
    ]


@pytest.mark.parametrize("transformation", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS)
def test_steps_are_optax_s_own_even_where_the_state_was_taken_out_as_numpy_in_between(transformation: Any) -> None:
    optimizer = Optax(transformation)
    params = expected = MODEL.load(MODEL.init(key(0)), "cpu")
    state, theirs = optimizer.init(params), transformation.init(params)
    for gradient in gradients(3):
        params, state = optimizer.step(params, gradient, state)
        slots = {slot: MODEL.load(MODEL.dump(dict(leaves)), "cpu") for slot, leaves in state.slots.items()}
        state = OptimizerState(state.steps, slots)
        updates, theirs = transformation.update(gradient, theirs, expected)
        expected = optax.apply_updates(expected, updates)
    assert state.steps == 3
    for name, leaf in expected.items():
        assert np.allclose(params[name], leaf, rtol=1e-5, atol=1e-6)


def test_slots_and_leaves_have_stable_names() -> None:
    slots = Optax(optax.adam(0.1)).init(MODEL.init(key(0))).slots
    assert {slot: sorted(leaves) for slot, leaves in slots.items()} == {
        "0": ["count"],
        "0.mu": ["a/w", "b"],
        "0.nu": ["a/w", "b"],
    }
    assert set(Optax(optax.scale_by_adam()).init(MODEL.init(key(0))).slots) == {"state", "mu", "nu"}
    assert {slot: set(leaves) for slot, leaves in hansa.tree.parts(hansa.tree.join(dict(slots))).items()} == {
        slot: set(leaves) for slot, leaves in slots.items()
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SGD(0.1, momentum=0.9, weight_decay=0.01), optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.1, 0.9))),
        (Adam(0.05), optax.adam(0.05)),
    ],
    ids=["SGD", "Adam"],
)
def test_a_visit_ends_where_our_own_optimiser_ends(ours: Optimizer, theirs: Any) -> None:
    params = MODEL.init(key(0))
    one, other = (
        hansa.LocalTraining(MODEL, optimizer, batch_size=8, epochs=2)(params, ClientContext("a", SHARD)).tree
        for optimizer in (ours, Optax(theirs))
    )
    assert all(np.allclose(leaf, other[name], rtol=1e-4, atol=1e-6) for name, leaf in one.items())


def test_the_factor_of_a_schedule_multiplies_the_update() -> None:
    optimizer, (gradient,) = Optax(optax.adam(0.1)), gradients(1)
    params = MODEL.load(MODEL.init(key(0)), "cpu")
    whole, half = (optimizer.step(params, gradient, optimizer.init(params), factor)[0] for factor in (1.0, 0.5))
    for name, leaf in params.items():
        assert np.allclose(half[name] - leaf, (whole[name] - leaf) / 2, atol=1e-6)


def test_another_factor_compiles_nothing_new() -> None:
    traced = []

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        traced.append(1)
        return jax.tree.map(jnp.negative, updates), state

    optimizer = Optax(optax.GradientTransformation(lambda _: optax.EmptyState(), update))
    params, (gradient,) = MODEL.load(MODEL.init(key(0)), "cpu"), gradients(1)
    state = optimizer.init(params)
    for factor in (1.0, 0.5, 0.25):
        params, state = optimizer.step(params, gradient, state, factor)
    assert len(traced) == 1


def test_numpy_s_parameters_stay_numpy_s_as_at_the_server() -> None:
    optimizer, (gradient,) = Optax(optax.yogi(0.1)), gradients(1)
    params = MODEL.init(key(0))
    moved, state = optimizer.step(params, gradient, optimizer.init(params))
    leaves = [*moved.values(), *(leaf for slot in state.slots.values() for leaf in slot.values())]
    assert {type(leaf) for leaf in leaves} == {np.ndarray}
    assert all(leaf.flags.writeable for leaf in leaves)


def test_narrow_parameters_stay_narrow() -> None:
    params: Any = {"w": jnp.ones(3, jnp.bfloat16)}
    optimizer = Optax(optax.adam(0.1))
    moved, _ = optimizer.step(params, params, optimizer.init(params), 0.5)
    assert moved["w"].dtype == jnp.bfloat16


def test_what_is_no_transformation_is_named() -> None:
    with pytest.raises(ConfigError, match="Optax takes a gradient transformation, not function") as caught:
        Optax(optax.adam)
    assert "Optax(optax.adam(1e-3))" in caught.value.hint
