"""The networks in plain JAX, as a user writes them: arrays by layer, pictures with their channels last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

Params = Mapping[str, Mapping[str, Any]]


def mlp(params: Params, x: Any) -> Any:
    """784-128-62."""
    return _dense(params, x, 2)


def cnn(params: Params, x: Any) -> Any:
    """conv3×3×32, conv3×3×64, pool, dense 128, 62 classes."""
    x = x.reshape(-1, 28, 28, 1)
    x = jax.nn.relu(_convolved(params, "conv1", x))
    x = jax.nn.relu(_convolved(params, "conv2", x))
    return _dense(params, _pooled(x).reshape(len(x), -1), 2)


def two_pooled(params: Params, x: Any) -> Any:
    """Both CIFAR-10 networks; pictures are given as PyTorch has them."""
    x = x.transpose(0, 2, 3, 1)
    x = _pooled(jax.nn.relu(_convolved(params, "conv1", x)))
    x = _pooled(jax.nn.relu(_convolved(params, "conv2", x)))
    return _dense(params, x.reshape(len(x), -1), len(params) - 2)


def _convolved(params: Params, name: str, x: Any) -> Any:
    numbers = ("NHWC", "HWIO", "NHWC")
    found = lax.conv_general_dilated(x, params[name]["kernel"], (1, 1), "VALID", dimension_numbers=numbers)
    return found + params[name]["bias"]


def _pooled(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _dense(params: Params, x: Any, layers: int) -> Any:
    for number in range(1, layers + 1):
        x = x @ params[f"dense{number}"]["kernel"] + params[f"dense{number}"]["bias"]
        x = jax.nn.relu(x) if number < layers else x
    return x


APPLY: dict[str, Callable[[Params, Any], Any]] = {"mlp": mlp, "cnn": cnn, "blitz": two_pooled, "cifar": two_pooled}


def losses(outputs: Any, labels: Any) -> Any:
    """Cross entropy, a value for each example."""
    picked = jnp.take_along_axis(outputs, labels[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(outputs, axis=1) - picked


LAYERS: dict[str, dict[str, tuple[int, ...]]] = {
    "mlp": {"dense1": (784, 128), "dense2": (128, 62)},
    "cnn": {"conv1": (3, 3, 1, 32), "conv2": (3, 3, 32, 64), "dense1": (9216, 128), "dense2": (128, 62)},
    "blitz": {
        "conv1": (5, 5, 3, 6),
        "conv2": (5, 5, 6, 16),
        "dense1": (400, 120),
        "dense2": (120, 84),
        "dense3": (84, 10),
    },
    "cifar": {"conv1": (3, 3, 3, 32), "conv2": (3, 3, 32, 64), "dense1": (2304, 128), "dense2": (128, 10)},
}


def maker(network: str) -> Callable[[Any], dict[str, Any]]:
    """What makes a network's parameters of a key of `jax.random`: {"dense1": {"kernel": ..., "bias": ...}, ...}."""

    def make(key: Any) -> dict[str, Any]:
        params = {}
        for name, shape in LAYERS[network].items():
            key, own = jax.random.split(key)
            scale = math.prod(shape[:-1]) ** -0.5
            params[name] = {"kernel": scale * jax.random.normal(own, shape), "bias": jnp.zeros(shape[-1])}
        return params

    return make
