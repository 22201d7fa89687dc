"""The adapters of JAX and Flax pass the published kit."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from jax import numpy as jnp

from hansa.models import Batch, Model
from hansa.models.flax import FlaxModel
from hansa.models.jax import JaxModel
from hansa.testing import check_model

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def batch(*shape: int, size: int = 6, classes: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    x = generator.standard_normal((size, *shape)).astype(np.float32)
    return {"x": x, "y": generator.integers(classes, size=size)}


# --- plain functions


def made(rng: Any, sizes: tuple[int, ...] = (8, 6, 3), dtype: Any = jnp.float32) -> Any:
    keys = jax.random.split(rng, len(sizes))
    shapes = itertools.pairwise(sizes)
    layers = [
        {"w": jax.random.normal(key, shape, dtype) / 3, "b": jnp.zeros(shape[1], dtype)}
        for key, shape in zip(keys, shapes, strict=False)
    ]
    return {"layers": layers}


def applied(params: Any, x: Any) -> Any:
    x = x.reshape(len(x), -1)
    for layer in params["layers"][:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ params["layers"][-1]["w"] + params["layers"][-1]["b"]


def with_dropout(params: Any, x: Any, *, rng: Any, train: bool) -> Any:
    if train:
        x = jnp.where(jax.random.bernoulli(rng, 0.5, x.shape), x / 0.5, 0)
    return applied(params, x)


def with_statistics(rng: Any) -> Any:
    return made(rng), {"mean": jnp.zeros(8), "batches": jnp.zeros((), jnp.int32)}


def normalised(params: Any, x: Any, *, state: Any, train: bool) -> Any:
    mean = x.mean(axis=0) if train else state["mean"]
    after = {"mean": 0.9 * state["mean"] + 0.1 * mean, "batches": state["batches"] + 1} if train else state
    return applied(params, x - mean), after


def in_bfloat16(params: Any, x: Any) -> Any:
    return applied(params, x.astype(jnp.bfloat16))


def scaled(params: Any, x: Any) -> Any:
    return applied(params, x) * params["scale"]


def odd(rng: Any) -> Any:
    """A scalar, a parameter that the loss does not depend on, and one that is no float."""
    return {**made(rng), "scale": 1.5, "idle": jnp.ones(2), "seen": np.arange(3)}


def two_inputs(params: Any, x: Any, z: Any) -> Any:
    return applied(params["left"], x) + jnp.tanh(applied(params["right"], z))


def halves(rng: Any) -> Any:
    left, right = jax.random.split(rng)
    return {"left": made(left, (8, 3)), "right": made(right, (2, 3))}


def squared(outputs: Any, targets: Any) -> Any:
    return (outputs[:, 0] - targets) ** 2


FLOATS = {
    **batch(8),
    "z": np.random.default_rng(2).standard_normal((6, 2)).astype(np.float32),
    "t": np.linspace(-1, 1, 6, dtype=np.float32),
}

FUNCTIONS = {
    "MLP": (JaxModel(made, applied, cross_entropy), batch(8), {}),
    "MLP with images": (JaxModel(made, applied, cross_entropy), batch(2, 4), {}),
    "dropout": (JaxModel(made, with_dropout, cross_entropy), batch(8), {"deterministic": False}),
    "state": (JaxModel(with_statistics, normalised, cross_entropy), batch(8), {"deterministic": False}),
    "bfloat16": (
        JaxModel(lambda rng: made(rng, dtype=jnp.bfloat16), in_bfloat16, cross_entropy),
        batch(8),
        {"deterministic": False},
    ),
    "a scalar, an idle and a whole parameter": (JaxModel(odd, scaled, cross_entropy), batch(8), {}),
    "two inputs": (JaxModel(halves, two_inputs, cross_entropy, inputs=("x", "z")), FLOATS, {}),
    "regression": (JaxModel(lambda rng: made(rng, (8, 1)), applied, squared, target="t"), FLOATS, {}),
}


@pytest.mark.parametrize(("model", "examples", "said"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_of_jax_keep_the_promises_of_the_model_port(
    model: Model, examples: Batch, said: dict[str, Any]
) -> None:
    check_model(model, examples, random_init=True, **said)


def test_parameters_of_a_net_that_is_trained_already_keep_them_too() -> None:
    params = made(jax.random.key(7))
    check_model(JaxModel(lambda _: params, applied, cross_entropy), batch(8))


# --- Flax NNX


class MLP(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs, dtype: Any = jnp.float32) -> None:
        self.layers = nnx.List([nnx.Linear(8, 6, rngs=rngs, param_dtype=dtype, dtype=dtype)])
        self.head = nnx.Linear(6, 3, rngs=rngs, param_dtype=dtype, dtype=dtype)

    def __call__(self, x: Any) -> Any:
        x = x.reshape(len(x), -1)
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return self.head(x)


class Convolutions(nnx.Module):
    """With BatchNorm, and two layers of dropout with streams of their own."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv, self.norm = nnx.Conv(1, 4, (3, 3), padding="VALID", rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.first, self.second = nnx.Dropout(0.2, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4 * 2 * 2, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.first(nnx.relu(self.norm(self.conv(x))))
        return self.head(self.second(x.reshape(len(x), -1)))


class Tied(nnx.Module):
    """One parameter under two names."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.first, self.second, self.head = (nnx.Linear(8, out, rngs=rngs) for out in (8, 8, 3))
        self.second.kernel = self.first.kernel

    def __call__(self, x: Any) -> Any:
        return self.head(jnp.tanh(self.second(jnp.tanh(self.first(x)))))


def head_only(path: tuple[Any, ...], variable: Any) -> bool:
    return path[0] == "head" and isinstance(variable, nnx.Param)


def of(module: Any, **options: Any) -> FlaxModel:
    return FlaxModel(module, cross_entropy, **options)


RANDOM = {"random_init": True}

MODULES = {
    "MLP": (of(MLP), batch(8), RANDOM),
    "CNN with BatchNorm and dropout": (of(Convolutions), batch(4, 4, 1), {**RANDOM, "deterministic": False}),
    "bfloat16": (of(lambda rngs: MLP(rngs=rngs, dtype=jnp.bfloat16)), batch(8), {**RANDOM, "deterministic": False}),
    "a module": (of(MLP(rngs=nnx.Rngs(3))), batch(8), {}),
    "partly frozen": (of(MLP, wrt=head_only), batch(8), RANDOM),
    "tied parameters": (of(Tied), batch(8), RANDOM),
}


@pytest.mark.parametrize(("model", "examples", "said"), MODULES.values(), ids=MODULES)
def test_modules_of_flax_keep_the_promises_of_the_model_port(
    model: Model, examples: Batch, said: dict[str, Any]
) -> None:
    check_model(model, examples, **said)
