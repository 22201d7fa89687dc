"""The weights of a Keras model by name: the same names for the same model in every process.

This file asks a model for its layers and variables only; it must not know what computes with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hansa.core.tree import Tree, check_alike
from hansa.errors import ConfigError

SEED = "seed_generator_state"
"""What the last part of the path of a random generator's variable is."""


@dataclass(frozen=True)
class Layout:
    """A model as it was when it was asked.

    Attributes:
        model: the model.
        weights: its variables by name, trained or not.
        trained: the names of those that an optimiser changes.
        others: the names of the rest.
        seeds: the variables of its random generators.
    """

    model: Any
    weights: Mapping[str, Any]
    trained: tuple[str, ...]
    others: tuple[str, ...]
    seeds: tuple[Any, ...]

    @classmethod
    def of(cls, model: Any) -> Layout:
        """The layout of a built model."""
        weights = named_weights(model)
        trainable = {id(variable) for variable in model.trainable_weights}
        trained = tuple(name for name, variable in weights.items() if id(variable) in trainable)
        others = tuple(name for name in weights if name not in trained)
        seeds = tuple(variable for variable in model.non_trainable_variables if variable.name == SEED)
        return cls(model, weights, trained, others, seeds)

    def check(self, found: Tree) -> None:
        """Raise `TreeMismatch` unless these leaves have the names, shapes and dtypes of the weights."""
        hint = "the model must keep the layers that it was made with"
        check_alike(found, values(self.model), where="the weights of a KerasModel", hint=hint)


def named_weights(model: Any) -> dict[str, Any]:
    """The variables of a model by name, those of random generators left out.

    Raises:
        ConfigError: the model has not been built, or two variables have the same path.
    """
    if not model.built:
        raise ConfigError(
            f"the model {model.name!r} of Keras has not been built, so it has no weights yet",
            hint="begin it with keras.Input(shape), or call it once on an example before it is returned",
        )
    renamed = _renamed(model)
    named: dict[str, Any] = {}
    for variable in model.weights:
        name = "/".join(renamed.get(step, step) for step in variable.path.split("/"))
        if name in named:
            raise ConfigError(
                f"two weights of a KerasModel are both called {name!r}", hint="give the layers names of their own"
            )
        named[name] = variable
    return named


def values(model: Any) -> Tree:
    """The weights of a model, copied."""
    return {name: np.array(variable.value.numpy()) for name, variable in named_weights(model).items()}


def _renamed(model: Any) -> dict[str, str]:
    """The names that Keras made up for the layers, such as "dense_7", and what they are called here: "dense_1".

    Keras counts through the life of a process; what is counted here are the layers of this model, in their order in it.
    """
    renamed: dict[str, str] = {}
    counted: dict[str, int] = {}
    for layer in _layers(model):
        base = re.sub(r"_\d+$", "", layer.name)
        if layer.name in renamed or base.replace("_", "") != type(layer).__name__.lower():
            continue  # seen, or named by the user
        number = counted.get(base, 0)
        renamed[layer.name] = f"{base}_{number}" if number else base
        counted[base] = number + 1
    return renamed


def _layers(model: Any) -> Iterator[Any]:
    """The model and all layers in it, in an order that depends on nothing but its structure."""
    # Keras has no public way to layers within layers.
    yield from model._flatten_layers()
