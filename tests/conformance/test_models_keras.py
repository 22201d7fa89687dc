"""The adapter of Keras passes the published kit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from hansa.models import Batch
from hansa.models.keras import KerasModel
from hansa.testing import check_model

layers = keras.layers


def batch(*shape: int, size: int = 6, classes: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    x = generator.standard_normal((size, *shape)).astype(np.float32)
    return {"x": x, "y": generator.integers(classes, size=size)}


def sequential(shape: tuple[int, ...], *stack: Callable[[], Any]) -> Callable[[], Any]:
    """A function that makes a model of these layers, with three classes."""
    return lambda: keras.Sequential([keras.Input(shape), *(each() for each in stack), layers.Dense(3)])


mlp = sequential((8,), lambda: layers.Dense(6, activation="tanh"))


def images() -> Any:
    return keras.Sequential(
        [keras.Input((2, 4)), layers.Flatten(), layers.Dense(6, activation="tanh"), layers.Dense(3)]
    )


def convolutions() -> Any:
    """With BatchNorm, and dropout within a model within a model."""
    inner = keras.Sequential([keras.Input((2, 2, 4)), layers.Dropout(0.2), layers.Flatten(), layers.GaussianNoise(0.1)])
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            inner,
            layers.Dense(3),
        ]
    )


class Subclassed(keras.Model):  # type: ignore[misc]  # Keras has no types
    """Whose `call` says nothing of training, as most do not."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.dropout, self.heads = layers.Dense(6), layers.Dropout(0.5), [layers.Dense(3), layers.Dense(3)]

    def call(self, x: Any) -> Any:
        x = self.dropout(self.hidden(x))
        return self.heads[0](x) + self.heads[1](x)


def subclassed() -> Any:
    model = Subclassed()
    model(np.zeros((1, 8), np.float32))
    return model


def two_inputs() -> Any:
    x, z = keras.Input((8,)), keras.Input((2,))
    outputs = layers.Dense(3)(x) + layers.Dense(3, activation="tanh")(z)
    return keras.Model([x, z], outputs)


def tied() -> Any:
    x, shared = keras.Input((8,)), layers.Dense(8, activation="tanh")
    return keras.Model(x, layers.Dense(3)(shared(shared(x))))


def frozen_body() -> Any:
    model = mlp()
    model.layers[0].trainable = False
    return model


def penalised() -> Any:
    hidden = layers.Dense(6, activation="tanh", kernel_regularizer="l2")
    return keras.Sequential([keras.Input((8,)), hidden, layers.Dense(3)])


def in_bfloat16() -> Any:
    return keras.Sequential([keras.Input((8,)), layers.Dense(6, dtype="bfloat16"), layers.Dense(3, dtype="bfloat16")])


def cross_entropy() -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def for_each_example(targets: Any, outputs: Any) -> Any:
    return keras.ops.square(outputs[:, 0] - targets)


def of(model: Any, **names: Any) -> KerasModel:
    return KerasModel(model, cross_entropy(), **names)


FLOATS = {
    **batch(8),
    "z": np.random.default_rng(2).standard_normal((6, 2)).astype(np.float32),
    "t": np.linspace(-1, 1, 6, dtype=np.float32),
}
RANDOM = {"random_init": True}
STOCHASTIC = {**RANDOM, "deterministic": False}

CASES = {
    "MLP": (lambda: of(mlp), batch(8), RANDOM),
    "MLP with images": (lambda: of(images), batch(2, 4), RANDOM),
    "CNN with BatchNorm and dropout": (lambda: of(convolutions), batch(4, 4, 1), STOCHASTIC),
    "subclassed, with dropout": (lambda: of(subclassed), batch(8), STOCHASTIC),
    "bfloat16": (lambda: of(in_bfloat16), batch(8), STOCHASTIC),
    "a model": (lambda: of(mlp()), batch(8), {}),
    "partly frozen": (lambda: of(frozen_body), batch(8), RANDOM),
    "a layer used twice": (lambda: of(tied), batch(8), RANDOM),
    "a penalty on weights": (lambda: of(penalised), batch(8), RANDOM),
    "two inputs": (lambda: of(two_inputs, inputs=("x", "z")), FLOATS, RANDOM),
    "regression": (lambda: KerasModel(mlp, for_each_example, target="t"), FLOATS, RANDOM),
}


@pytest.mark.parametrize(("make", "examples", "said"), CASES.values(), ids=CASES)
def test_models_of_keras_keep_the_promises_of_the_model_port(
    make: Callable[[], KerasModel], examples: Batch, said: dict[str, Any]
) -> None:
    check_model(make(), examples, **said)
