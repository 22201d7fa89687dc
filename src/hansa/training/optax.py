"""Optax: any of its gradient transformations is an Optimizer, compiled by JAX as one function.

Its state is kept as arrays by name, so that a client can keep it or a federation average it like that of any other optimiser.
This file must not know which model is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hansa.core.tree import Tree
from hansa.errors import ConfigError, MissingExtra
from hansa.training.optimizers import OptimizerState

try:
    import jax
    import optax
except ImportError as missing:
    raise MissingExtra.of("Optax", "jax", "an Optax optimiser") from missing

WHOLE = "state"
"""The slot of what lies at the top of a transformation's state, under no name of its own."""


@dataclass(frozen=True)
class Optax:
    """A gradient transformation of Optax as an Optimizer: x ← x + factor·u, where u is its update.

    For models of JAX and Flax; parameters that are NumPy's own, at the server for example, are given back as such.

    The slots of its state are named by their place in the transformation's, such as "0.mu" and "0.nu" of `optax.adam`, with
    leaves named like the parameters; what is not shaped like them, such as the leaf "count" of the slot "0", is there too. A
    schedule inside the transformation counts the steps of its own state: those of one visit, where that begins anew.

    Attributes:
        transformation: such as `optax.adam(1e-3)` or `optax.chain(...)`; one whose update needs more than gradient, state and
            parameters, such as the loss, cannot be used.
    """

    transformation: optax.GradientTransformation

    def __post_init__(self) -> None:
        if not isinstance(self.transformation, optax.GradientTransformation):
            raise ConfigError(
                f"Optax takes a gradient transformation, not {type(self.transformation).__name__}",
                hint="call the optimiser first: Optax(optax.adam(1e-3))",
            )

    def init(self, params: Tree) -> OptimizerState:
        """No step; the transformation's own initial state."""
        return OptimizerState(0, _as_given(_slots(self.transformation.init(params)), params))

    def step(
        self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0
    ) -> tuple[Tree, OptimizerState]:
        """One step; `factor` multiplies the transformation's update."""
        moved, slots = self._moved(params, gradient, state.slots, factor)
        return _as_given(moved, params), OptimizerState(state.steps + 1, _as_given(slots, params))

    @cached_property
    def _moved(self) -> Callable[..., Any]:
        """Compiled once for each set of shapes; another factor is not another shape."""
        return jax.jit(self._step)

    def _step(self, params: Tree, gradient: Tree, slots: Mapping[str, Tree], factor: Any) -> tuple[Any, Any]:
        form = self.transformation.init(params)  # for its structure; what it computes is not used, so not compiled
        updates, state = self.transformation.update(gradient, _state(slots, form), params)
        updates = jax.tree.map(lambda update: (update * factor).astype(update.dtype), updates)
        return optax.apply_updates(params, updates), _slots(state)


def _slots(state: Any) -> dict[str, dict[str, Any]]:
    """A transformation's state by slot and leaf; keys of random generators as the whole numbers that they are made of."""
    slots: dict[str, dict[str, Any]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        slot, name = _place(path)
        slots.setdefault(slot, {})[name] = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    return slots


def _state(slots: Mapping[str, Mapping[str, Any]], form: Any) -> Any:
    """The state of the form that `_slots` took apart."""

    def found(path: tuple[Any, ...], like: Any) -> Any:
        slot, name = _place(path)
        leaf = slots[slot][name]
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like)) if _is_key(like) else leaf

    return jax.tree_util.tree_map_with_path(found, form)


def _place(path: tuple[Any, ...]) -> tuple[str, str]:
    """(slot, leaf): all but the last step of a path, and the last."""
    slot = jax.tree_util.keystr(path[:-1], simple=True, separator=".")
    return slot or WHOLE, jax.tree_util.keystr(path[-1:], simple=True)


def _is_key(leaf: Any) -> bool:
    return bool(jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _as_given(leaves: Any, params: Tree) -> Any:
    """The same as NumPy's arrays if the parameters are."""
    if not all(isinstance(leaf, np.ndarray) for leaf in params.values()):
        return leaves
    return jax.tree.map(np.array, leaves)
