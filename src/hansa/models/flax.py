"""Flax NNX: any `nnx.Module` with any loss function is a Model.

A module is taken apart into arrays and the rest, and put together again inside JAX's functions: the work is `JaxModel`'s. A
leaf's name is its path in `nnx.state(module)`, such as "layers/0/kernel".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hansa.core.keys import Key, key
from hansa.core.tree import Tree
from hansa.errors import ConfigError, MissingExtra
from hansa.models.jax import JaxModel, prng_key
from hansa.models.model import Batch, Gradient, Prediction, Resident

try:
    import jax
    from flax import nnx
    from jax import numpy as jnp
except ImportError as missing:
    raise MissingExtra.of("Flax", "jax", "a FlaxModel") from missing

LINEN = "it is two functions: JaxModel(lambda rng: module.init(rng, example), module.apply, loss)"
"""What to do with a module of Flax's older interface."""


@dataclass(frozen=True)
class FlaxModel:
    """A module and its loss.

    Variables that `wrt` selects are trained; all others (BatchNorm's statistics, frozen parameters, counters) are buffers. The
    keys and counters of random streams are no leaves: `init` and every training step give them new values.

    Attributes:
        module: a function of `rngs` that makes the module, such as its class if that takes nothing else (then `init` draws new
            parameters for each seed), or a module (then `init` returns the parameters that it has; it is copied).
        loss: of (outputs, targets): the mean over a batch, or a value for each example, whose mean is then taken.
        inputs: the field, or the fields, of a batch that the module is called with.
        target: the field that the loss compares with.
        wrt: a filter of NNX, such as `nnx.LoRAParam`; what is trained.
    """

    module: Callable[..., nnx.Module] | nnx.Module
    loss: Callable[[Any, Any], Any]
    inputs: str | tuple[str, ...] = "x"
    target: str = "y"
    wrt: Any = nnx.Param

    def __post_init__(self) -> None:
        if isinstance(self.module, nnx.Module):
            object.__setattr__(self, "module", nnx.clone(self.module))
        elif any(each.__module__.startswith("flax.linen") for each in type(self.module).__mro__):
            raise ConfigError("a FlaxModel takes modules of flax.nnx, and this is one of flax.linen", hint=LINEN)

    @property
    def buffers(self) -> frozenset[str]:
        """What `wrt` does not select."""
        return self.functions.buffers

    def init(self, key: Key) -> Tree:
        """The variables of a module made with `nnx.Rngs` of `key`; or those of the given module."""
        return self.functions.init(key)

    def load(self, params: Tree, device: str = "cpu") -> Resident:
        """Arrays of JAX on a device, such as "cpu", "gpu" or "gpu:1"."""
        return self.functions.load(params, device)

    def dump(self, params: Resident) -> Tree:
        """NumPy arrays."""
        return self.functions.dump(params)

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:
        """Forward and backward after `module.train()`; dropout and the like draw from streams made of `key`."""
        return self.functions.gradient(params, batch, key)

    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """Forward after `module.eval()`."""
        return self.functions.predict(params, batch)

    def native(self, params: Tree, device: str = "cpu", key: Key | None = None) -> nnx.Module:
        """A module with these variables, in training mode; `key`, if given, seeds its random streams."""
        values, rest = self.functions.native(params, device)
        _, streams, _ = self._parted(self._template)
        module = self._merged(values, _reseeded(streams, None if key is None else prng_key(key)), rest)
        # Streams that were not reseeded are still the template's own: a copy, or one task would move another's.
        own: Any = nnx.clone(module)
        own.train()
        return own  # type: ignore[no-any-return]  # it is a module; NNX leaves its functions untyped

    def extract(self, native: nnx.Module) -> Tree:
        """The variables of a module that `native` made."""
        return self.functions.extract(self._arrays(native))

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`jax.jit`; the function as it is where JAX cannot trace it."""
        return self.functions.compiled(function)

    def zero(self, device: str) -> Any:
        """An array of one number."""
        return self.functions.zero(device)

    # What tasks ask of Flax besides: see hansa.training.tasks.framework.

    def tensors(self, batch: Batch, device: str = "cpu") -> tuple[Any, ...]:
        """The inputs of a batch and its target, as arrays on a device."""
        return self.functions.tensors(batch, device)

    def mode(self, native: nnx.Module, *, training: bool) -> None:
        """Put a module into training or evaluation mode."""
        module: Any = native
        module.train() if training else module.eval()

    def seeded(self, key: Key, device: str = "cpu") -> AbstractContextManager[None]:
        """JAX has no global generator: a module's streams are seeded by `native`."""
        return self.functions.seeded(key, device)

    @cached_property
    def functions(self) -> JaxModel:
        """The same model as two functions."""
        return JaxModel(self._made_arrays, self._applied, self.loss, self.inputs, self.target)

    @cached_property
    def _template(self) -> nnx.Module:
        """The module whose structure is used."""
        return self.module if isinstance(self.module, nnx.Module) else self._made(prng_key(key(0)))

    def _made(self, rng: Any) -> nnx.Module:
        made: Any = self.module(rngs=nnx.Rngs(rng))
        if not isinstance(made, nnx.Module):
            raise ConfigError(
                f"the module function of a FlaxModel returned {type(made).__name__}, not an nnx.Module",
                hint="pass a module, or a function of `rngs` that makes it, such as its class",
            )
        return made

    def _made_arrays(self, rng: Any) -> tuple[Any, Any]:
        return self._arrays(self.module if isinstance(self.module, nnx.Module) else self._made(rng))

    def _parted(self, module: nnx.Module) -> tuple[Any, Any, Any]:
        """(what is trained, random streams, the rest) as states of NNX."""
        parts: Any = nnx.split(module, nnx.RngState, self.wrt, ...)
        _, streams, trained, rest = parts
        return trained, streams, rest

    def _arrays(self, module: nnx.Module) -> tuple[Any, Any]:
        """(what is trained, the rest) as plain arrays."""
        trained, _, rest = self._parted(module)
        return nnx.to_pure_dict(trained), nnx.to_pure_dict(rest)

    def _merged(self, trained: Any, streams: Any, rest: Any) -> Any:
        """A module of these arrays: a new one, which shares nothing with the template but the structure."""
        forms = self._parted(self._template)
        structure = nnx.graphdef(self._template)
        for form, values in ((forms[0], trained), (forms[2], rest)):
            nnx.replace_by_pure_dict(form, values)
        return nnx.merge(structure, forms[0], streams, forms[2])

    def _applied(self, params: Any, *inputs: Any, state: Any, rng: Any, train: bool) -> tuple[Any, Any]:
        _, streams, _ = self._parted(self._template)
        module = self._merged(params, _reseeded(streams, rng), state)
        module.train() if train else module.eval()
        outputs = module(*inputs)
        return outputs, self._arrays(module)[1]


def _reseeded(streams: Any, rng: Any) -> Any:
    """Random streams that begin anew, each from a key of its own below `rng`; unchanged where that is None."""
    if rng is None:
        return streams
    fresh = {}
    for number, (path, variable) in enumerate(nnx.to_flat_state(streams)):
        value = variable.get_value()
        if isinstance(variable, nnx.RngKey):
            below = jax.random.fold_in(rng, number)
            fresh[path] = variable.replace(jax.random.split(below, value.shape) if value.shape else below)
        else:
            fresh[path] = variable.replace(jnp.zeros_like(value))
    return nnx.from_flat_state(fresh)
