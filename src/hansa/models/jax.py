"""JAX: any pair of functions that make parameters and apply them, with any loss function, is a Model.

A leaf's name is its path in the pytree of parameters, such as "layers/0/kernel". This file must not know any library on top of
JAX: what haiku, equinox or linen make can be brought here as two functions; Flax NNX has a file of its own (`flax`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hansa.core.keys import Key, key
from hansa.core.tree import Array, Tree, aligned_copy, check_alike
from hansa.errors import ConfigError, DataError, MissingExtra
from hansa.models.jitting import Jitted
from hansa.models.model import Batch, Gradient, Prediction, Resident, field_of, label_outside

try:
    import jax
    from jax import numpy as jnp
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "a JaxModel") from missing

KEYWORDS = frozenset({"rng", "train", "state"})
"""What `apply` is given beside parameters and inputs, if it has parameters of these names."""

WIDER = 'let JAX use 64 bits: jax.config.update("jax_enable_x64", True) before anything else'
"""What to do about numbers that JAX would cut."""


@dataclass(frozen=True)
class JaxModel:
    """Two functions and a loss.

    `apply(params, *inputs)` gives outputs of shape (batch, ...). It may also take, by these names: `rng`, a key of `jax.random`
    to draw from in training, None in evaluation; `train`, whether it is training; and `state`, whatever a forward pass changes,
    such as BatchNorm's statistics. If it takes `state`, then `make` returns (params, state), and `apply` (outputs, new state).

    What is floating in `params` is trained; other leaves of it, and all of the state, are buffers.

    Attributes:
        make: of a key of `jax.random`: gives the initial parameters, any pytree of arrays.
        apply: of parameters and inputs; traced by `jax.jit` once for each shape of a batch.
        loss: of (outputs, targets): the mean over a batch, or a value for each example, whose mean is then taken, as with
            `optax.softmax_cross_entropy_with_integer_labels`.
        inputs: the field, or the fields, of a batch that `apply` is called with.
        target: the field that the loss compares with.
    """

    make: Callable[[Any], Any]
    apply: Callable[..., Any]
    loss: Callable[[Any, Any], Any]
    inputs: str | tuple[str, ...] = "x"
    target: str = "y"

    @property
    def buffers(self) -> frozenset[str]:
        """The state, and parameters that are not floating."""
        return frozenset(self._layout.form) - self._layout.trained

    def init(self, key: Key) -> Tree:
        """What `make` gives for a key made of `key`."""
        return self.dump(self._taken_apart(self.make(prng_key(key))))

    def load(self, params: Tree, device: str = "cpu") -> Resident:
        """Arrays on a device, such as "cpu", "gpu" or "gpu:1".

        Raises:
            ConfigError: JAX has no such device, or would hold a leaf in fewer bits than it has.
        """
        place = device_named(device)
        for name, leaf in params.items():
            if (held := jax.dtypes.canonicalize_dtype(leaf.dtype)) != leaf.dtype:
                raise ConfigError(
                    f"leaf {name!r} is {leaf.dtype}, and JAX would hold it as {held}",
                    hint=WIDER,
                )
        return {name: _put(leaf, place) for name, leaf in params.items()}

    def dump(self, params: Resident) -> Tree:
        """NumPy arrays."""
        return {name: np.array(leaf) for name, leaf in params.items()}

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:
        """`jax.value_and_grad` in training mode; `rng` is made of `key`. Complex parameters get the steepest ascent."""
        trained, others = self._divided(params)
        rng = key_data(key) if self.draws else None
        loss, gradient, buffers, form = self._step(trained, others, *self._fields(batch), rng)
        _check_labels(batch[self.target], form.shape, loss)
        return Gradient(loss, gradient, buffers)

    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """`apply` in evaluation mode."""
        loss, outputs = self._evaluation(params, *self._fields(batch))
        _check_labels(batch[self.target], outputs.shape, loss)
        return Prediction(float(loss), np.array(outputs))

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`jax.jit`; the function as it is where JAX cannot trace it, such as one that branches on values."""
        return Jitted(function)

    def zero(self, device: str) -> Any:
        """An array of one number."""
        return jax.device_put(np.zeros((), jax.dtypes.canonicalize_dtype(float)), device_named(device))

    def native(self, params: Tree, device: str = "cpu") -> Any:
        """What `make` gives, with these values: the pytree of parameters, or (params, state)."""
        made, state = self._layout.joined(self.load(params, device))
        return (made, state) if self._stateful else made

    def extract(self, native: Any) -> Tree:
        """The leaves of such a pytree.

        Raises:
            TreeMismatch: they are not those that `make` gives.
        """
        found = self.dump(self._taken_apart(native))
        hint = "a task returns the same pytree with other values"
        check_alike(found, self._layout.form, where="the parameters that a task gave back", hint=hint)
        return found

    # What tasks ask of JAX besides: see hansa.training.tasks.framework.

    def tensors(self, batch: Batch, device: str = "cpu") -> tuple[Any, ...]:
        """The inputs of a batch and its target, as arrays on a device."""
        (inputs, target), place = self._fields(batch), device_named(device)
        return tuple(jax.device_put(field, place) for field in (*inputs, target))

    def mode(self, native: Any, *, training: bool) -> None:
        """A pytree has none: a task tells `apply` itself."""

    def seeded(self, key: Key, device: str = "cpu") -> AbstractContextManager[None]:  # noqa: ARG002 - a port's signature
        """JAX has no global generator."""
        return nullcontext()

    # What the simulator's engines ask of JAX besides: see hansa.simulation.engines.jax.

    @property
    def functions(self) -> JaxModel:
        """The model as two functions: itself."""
        return self

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers."""
        return "rng" in self._keywords

    @property
    def state(self) -> frozenset[str]:
        """The leaves that a forward pass itself changes."""
        return self._layout.state_names

    @property
    def form(self) -> Tree:
        """Arrays of the shapes and dtypes of all leaves; what they hold means nothing."""
        return self._layout.form

    def differentiated(
        self, params: Resident, inputs: tuple[Any, ...], target: Any, rng: Any, size: Any = None
    ) -> Gradient:
        """What `gradient` gives, not compiled: for use inside functions that JAX compiles.

        Args:
            params: all leaves.
            inputs: a batch's.
            target: a batch's.
            rng: of `key_data`, where the model draws.
            size: how many examples the batch has, where it was filled up to a fixed shape: the others do not count. Right for
                a loss that is a mean over examples whose outputs do not depend on each other.
        """
        return Gradient(*self._differentiated(*self._divided(params), inputs, target, rng, size)[:3])

    @cached_property
    def _layout(self) -> _Layout:
        params, state = self._parted(self.make(prng_key(key(0))))
        form = self._taken_apart((params, state) if self._stateful else params)
        trained = frozenset(name for name in _named(params) if jnp.issubdtype(form[name].dtype, jnp.inexact))
        shapes = {name: np.broadcast_to(np.empty((), leaf.dtype), leaf.shape) for name, leaf in form.items()}
        return _Layout(jax.tree.structure(params), jax.tree.structure(state), shapes, trained, frozenset(_named(state)))

    @cached_property
    def _keywords(self) -> frozenset[str]:
        """Those of `KEYWORDS` that `apply` takes."""
        try:
            taken = list(inspect.signature(self.apply).parameters.values())[1:]
        except (TypeError, ValueError):  # a builtin says nothing of what it takes
            return frozenset()
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return KEYWORDS & {each.name for each in taken if each.kind in by_name}

    @property
    def _stateful(self) -> bool:
        return "state" in self._keywords

    def _parted(self, made: Any) -> tuple[Any, Any]:
        """(params, state) of what `make` gave."""
        if not self._stateful:
            return made, {}
        if not isinstance(made, tuple) or len(made) != 2:
            raise ConfigError(
                f"the apply function of a JaxModel takes `state`, and make returned {type(made).__name__}, not a pair",
                hint="return (params, state) from make, or take no `state`",
            )
        return made

    def _divided(self, params: Resident) -> tuple[Resident, Resident]:
        """(what an optimiser changes, the other leaves)."""
        trained = {name: leaf for name, leaf in params.items() if name in self._layout.trained}
        return trained, {name: leaf for name, leaf in params.items() if name not in trained}

    def _taken_apart(self, made: Any) -> Resident:
        params, state = map(_named, self._parted(made))
        if both := sorted(params.keys() & state.keys()):
            raise ConfigError(
                f"a parameter and a part of the state are both called {both[0]!r}",
                hint='put one of them a level deeper, such as under "statistics"',
            )
        return {**params, **state}

    def _fields(self, batch: Batch) -> tuple[tuple[Array, ...], Array]:
        """(inputs, target), copied: JAX may use their memory as it is."""
        names = (self.inputs,) if isinstance(self.inputs, str) else self.inputs
        return tuple(_field(batch, name) for name in names), _field(batch, self.target)

    @cached_property
    def _step(self) -> Callable[..., Any]:
        return jax.jit(self._differentiated)

    @cached_property
    def _evaluation(self) -> Callable[..., Any]:
        return jax.jit(self._evaluated)

    def _differentiated(
        self, trained: Resident, others: Resident, inputs: Any, target: Any, rng: Any, size: Any = None
    ) -> Any:
        """(loss, gradient, buffers, none of the outputs: only their shape is of interest)."""

        def loss(trained: Resident) -> Any:
            outputs, state = self._applied({**trained, **others}, inputs, rng, train=True)
            value = self._mean_loss(outputs, target) if size is None else self._loss_of_first(size, outputs, target)
            return value, (state, outputs[:0])

        (value, (state, form)), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
        # JAX gives a complex parameter's gradient conjugated; an optimiser's step is against the steepest ascent.
        return _wide(value), {name: jnp.conj(leaf) for name, leaf in gradient.items()}, state, form

    def _evaluated(self, params: Resident, inputs: Any, target: Any) -> Any:
        outputs, _ = self._applied(params, inputs, None, train=False)
        return _wide(self._mean_loss(outputs, target)), _wide(outputs)

    def _applied(self, leaves: Resident, inputs: tuple[Any, ...], rng: Any, *, train: bool) -> tuple[Any, Resident]:
        """(outputs, new values of the state)."""
        params, state = self._layout.joined(leaves)
        offered = {"rng": None if rng is None else _wrapped(rng), "train": train, "state": state}
        given = self.apply(params, *inputs, **{name: offered[name] for name in self._keywords})
        if not self._stateful:
            return given, {}
        outputs, state = given
        before = {name: leaf for name, leaf in leaves.items() if name in _named(offered["state"])}
        after = {name: _as(leaf, before.get(name)) for name, leaf in _named(state).items()}
        check_alike(after, before, where="the state that a JaxModel's apply function gave back")
        return outputs, after

    def _mean_loss(self, outputs: Any, target: Any) -> Any:
        return jnp.mean(jnp.asarray(self.loss(outputs, target)))

    def _loss_of_first(self, size: Any, outputs: Any, target: Any) -> Any:
        """The mean loss over the first `size` examples of a batch that was filled up."""
        losses = jnp.asarray(self.loss(outputs, target))
        if not losses.ndim:
            losses = jax.vmap(lambda output, label: self._mean_loss(output[None], label[None]))(outputs, target)
        each = losses.reshape(len(losses), -1).mean(axis=1)
        return jnp.sum(jnp.where(jnp.arange(len(each)) < size, each, 0)) / size


@dataclass(frozen=True)
class _Layout:
    """How pytrees are put together of named leaves.

    Attributes:
        params: the structure of the parameters.
        state: the structure of the state.
        form: an empty array of each leaf's shape and dtype, parameters before state.
        trained: the leaves that an optimiser changes.
        state_names: the leaves of the state.
    """

    params: Any
    state: Any
    form: Tree
    trained: frozenset[str]
    state_names: frozenset[str]

    def joined(self, leaves: Resident) -> tuple[Any, Any]:
        """(params, state) of leaves by name."""
        ordered = [leaves[name] for name in self.form]
        count = self.params.num_leaves
        return jax.tree.unflatten(self.params, ordered[:count]), jax.tree.unflatten(self.state, ordered[count:])


def prng_key(key: Key) -> Any:
    """A key of `jax.random`, of 64 bits, whatever generator JAX is set to use by itself."""
    return _wrapped(key_data(key))


def device_named(name: str) -> Any:
    """The device of JAX that "cpu", "gpu" or "gpu:1" means.

    Raises:
        ConfigError: there is none.
    """
    kind, _, number = name.partition(":")
    try:
        return jax.devices(kind)[int(number or 0)]
    except (RuntimeError, IndexError, ValueError) as problem:
        found = ", ".join(sorted({device.platform for device in jax.devices()} | {"cpu"}))
        raise ConfigError(f"JAX has no device {name!r} here", hint=f"it has: {found}") from problem


def key_data(key: Key) -> Array:
    """The whole numbers that a key of `jax.random` is made of: uint32 of shape (2,)."""
    number = key.integer(64)
    return np.array([number >> 32, number & 0xFFFFFFFF], np.uint32)


def _wrapped(data: Any) -> Any:
    return jax.random.wrap_key_data(data, impl="threefry2x32")


def _named(pytree: Any) -> Resident:
    """The leaves of a pytree by their paths, as JAX's arrays, in JAX's order."""
    found = jax.tree_util.tree_leaves_with_path(pytree)
    leaves = {jax.tree_util.keystr(path, simple=True, separator="/") or "params": leaf for path, leaf in found}
    if len(leaves) < len(found):
        raise ConfigError(
            "two parameters of a JaxModel have the same path once their keys are joined by '/'",
            hint="use keys without '/'",
        )
    return {name: jnp.asarray(leaf) for name, leaf in leaves.items()}


def _put(leaf: Array, place: Any) -> Any:
    """A copy on a device. JAX may keep NumPy's memory instead of copying it, so it is given memory that nobody else has."""
    return jax.device_put(aligned_copy(np.asarray(leaf)), place)


def _field(batch: Batch, name: str) -> Array:
    """A copy of a field of a batch, which JAX can hold."""
    values = np.asarray(field_of(batch, name, "JaxModel"))
    held_as(name, values)
    return aligned_copy(values)


def held_as(name: str, values: Array) -> np.dtype[Any]:
    """The dtype in which JAX holds the values of a field.

    Raises:
        DataError: one of them is a whole number that does not fit.
    """
    held: np.dtype[Any] = jax.dtypes.canonicalize_dtype(values.dtype)
    if values.dtype.kind in "iu" and held != values.dtype and values.size:
        limits = np.iinfo(held)
        if outside := [int(end) for end in (values.min(), values.max()) if not limits.min <= end <= limits.max]:
            raise DataError(
                f"the field {name!r} holds {outside[0]}, and JAX would hold it as {held}",
                hint=WIDER,
            )
    return held


def _as(leaf: Any, like: Any) -> Any:
    return leaf if like is None else leaf.astype(like.dtype)


def _wide(values: Any) -> Any:
    """Floating values in float32 or wider."""
    if not jnp.issubdtype(values.dtype, jnp.floating):
        return values
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _check_labels(target: Array, outputs: tuple[int, ...], loss: Any) -> None:
    """Name a label without an output where it made the loss NaN, which is how JAX tells of an index out of range.

    The loss, which may still be computing, is not waited for where all labels have an output.
    """
    target = np.asarray(target)
    if target.dtype.kind not in "iu" or target.ndim != len(outputs) - 1 or not target.size:
        return
    low, high = int(target.min()), int(target.max())
    if (low < 0 or high >= outputs[-1]) and not np.isfinite(float(loss)):
        raise label_outside(low if low < 0 else high, outputs[-1])
