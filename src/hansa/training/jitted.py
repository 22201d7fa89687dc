"""JAX's way to run client steps: the step compiled, its state's memory reused, what is lent copied to the device.

This file must not know what the functions compute, or what becomes of their update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hansa.core.tree import Tree, aligned_copy, check_alike
from hansa.core.work import ClientContext
from hansa.errors import ConfigError, DataError, MissingExtra, TreeMismatch
from hansa.models import Batch, Model
from hansa.training.steps import TREE, by_name

try:
    import jax
    from jax import numpy as jnp
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "ClientSteps(jit=True)") from missing

from hansa.models.jax import WIDER, JaxModel, device_named, prng_key

KEPT = "every step returns a state of the structure, shapes and dtypes that init gave it"
"""What to do about a state that became another."""


@dataclass(frozen=True)
class JittedSteps:
    """See `hansa.training.steps.Runner`."""

    step: Callable[[Any, Any], Any]
    model: Model | None

    @property
    def form(self) -> str:
        """Arrays by name, or a pytree."""
        return TREE if self._pytrees is None else "a pytree like the model's parameters"

    def lent(self, broadcast: Tree, context: ClientContext) -> tuple[Any, Any]:
        """JAX's arrays on the client's device, and a key of `jax.random`."""
        key = prng_key(context.key.child("init"))
        if self._pytrees is not None:
            return self._pytrees.native(broadcast, context.device), key
        for name, leaf in broadcast.items():
            if (held := jax.dtypes.canonicalize_dtype(leaf.dtype)) != leaf.dtype:
                raise ConfigError(f"leaf {name!r} is {leaf.dtype}, and JAX would hold it as {held}", hint=WIDER)
        place = device_named(context.device)
        return {name: jax.device_put(aligned_copy(leaf), place) for name, leaf in broadcast.items()}, key

    def begun(self, state: Any) -> Any:
        """A copy: the first step takes the state's memory, and what is shared may be part of the state."""
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)

    def stepped(self, state: Any, batch: Batch) -> Any:
        """The state after one batch; nobody has waited for it yet."""
        for name, values in batch.items():
            _check_held(name, values)
        return self._compiled(state, batch)

    def leaves(self, found: Any, shared: Any) -> Mapping[str, Any] | None:
        """The leaves of a pytree by their paths, or the dict itself."""
        if self._pytrees is None:
            return by_name(found)
        return self._extracted(self._pytrees, found) if _structure(found) == _structure(shared) else None

    def _extracted(self, model: JaxModel, found: Any) -> Tree:
        try:
            return model.extract(found)
        except TreeMismatch as problem:
            problem.where, problem.hint = "the tree that final returned", "return a change of each parameter"
            raise

    @property
    def _pytrees(self) -> JaxModel | None:
        return self.model if isinstance(self.model, JaxModel) else None

    @cached_property
    def _compiled(self) -> Callable[[Any, Any], Any]:
        return jax.jit(self._checked, donate_argnums=0)

    def _checked(self, state: Any, batch: Any) -> Any:
        """The step, and a look at what it returns: this runs only while JAX traces it."""
        after = self.step(state, batch)
        check_alike(_leaves(after), _leaves(state), where="the state that step returned", hint=KEPT)
        if (new := _structure(after)) != (old := _structure(state)):
            raise TreeMismatch(f"expected {old}, found {new}", where="the state that step returned", hint=KEPT)
        return after


def _structure(pytree: Any) -> Any:
    """How a pytree is put together, whatever its leaves are."""
    return jax.tree.structure(pytree)


def _leaves(state: Any) -> dict[str, Any]:
    """The leaves of a state by their paths."""
    found = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): jnp.asarray(leaf) for path, leaf in found}


def _check_held(name: str, values: Any) -> None:
    """Refuse text, and whole numbers beyond the bits that JAX has for them."""
    if values.dtype.kind not in "biufcV":
        raise DataError(
            f"the field {name!r} is {values.dtype}, and JAX computes with numbers",
            hint="give the client's data a transform that leaves it out",
        )
    if values.dtype.kind in "iu" and (held := jax.dtypes.canonicalize_dtype(values.dtype)) != values.dtype:
        limits = np.iinfo(held)
        if outside := [int(end) for end in (values.min(), values.max()) if not limits.min <= end <= limits.max]:
            raise DataError(f"the field {name!r} holds {outside[0]}, and JAX would hold it as {held}", hint=WIDER)
