"""The network of torch_cnn.py as two plain JAX functions."""

from typing import Any

import jax
from jax import Array, lax, nn
from jax import numpy as jnp

Params = dict[str, dict[str, Array]]

SHAPES = {"conv1": (3, 3, 1, 32), "conv2": (3, 3, 32, 64), "dense1": (12 * 12 * 64, 128), "dense2": (128, 10)}
# PyTorch's initial weights: uniform, with the variance 1 / (3 · inputs of a unit).
uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def make(rng: Array) -> Params:
    keys = jax.random.split(rng, len(SHAPES))
    return {
        name: {"w": uniform(key, shape), "b": jnp.zeros(shape[-1])}
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }


def apply(params: Params, x: Array) -> Array:
    """Pictures (n, 1, 28, 28) to logits (n, 10)."""
    x = x.reshape(-1, 28, 28, 1)  # channels last, which XLA likes better
    x = nn.relu(conv(x, **params["conv1"]))
    x = nn.relu(conv(x, **params["conv2"]))
    x = x.reshape(-1, 12, 2, 12, 2, 64).max((2, 4))
    x = nn.relu(dense(x.reshape(len(x), -1), **params["dense1"]))
    return dense(x, **params["dense2"])


def loss(logits: Array, labels: Array) -> Array:
    """The cross entropy of each example."""
    return -jnp.take_along_axis(nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]


def conv(x: Array, w: Array, b: Array) -> Any:
    return lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b


def dense(x: Array, w: Array, b: Array) -> Array:
    return x @ w + b
