"""Client steps: a client's work written as three pure functions, `init`, `step` and `final`, as FedJAX's users write it.

How what they return becomes an update is here; how JAX runs them is in `jitted`. This file must not know of rounds, servers or
other clients, nor of any framework's own types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from hansa.core.metrics import Metrics
from hansa.core.tree import Tree, is_floating
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError, InputError
from hansa.models import Batch, Model
from hansa.training.clients.answers import measured
from hansa.training.examples import training_examples

TREE = "a dict of arrays by name"
"""What `final` returns, in the plain case."""


class Runner(Protocol):
    """How the three functions are run: as they are, or by JAX."""

    @property
    def form(self) -> str:
        """What the tree of an update is, in words."""
        ...

    def lent(self, broadcast: Tree, context: ClientContext) -> tuple[Any, Any]:
        """(shared, key): what `init` is called with."""
        ...

    def begun(self, state: Any) -> Any:
        """The state that `init` returned, as steps take it."""
        ...

    def stepped(self, state: Any, batch: Batch) -> Any:
        """The state after one batch."""
        ...

    def leaves(self, found: Any, shared: Any) -> Mapping[str, Any] | None:
        """A tree that `final` returned, by name; None where it is no tree."""
        ...


@dataclass(frozen=True)
class ClientSteps:
    """A training work made of three pure functions.

    ::

        client_init(shared, key) -> state
        client_step(state, batch) -> state
        client_final(shared, state) -> tree, or (tree, weight, metrics)

    `shared` is the broadcast, `batch` the next examples by field. The tree is what is added to the broadcast parameters, new −
    old, where FedJAX's is old − new. A leaf that is not floating replaces what was there. Unless `final` says otherwise, the
    update's weight is the number of the client's examples; weight None says that too. Metrics are numbers by name, each a mean
    over the weight, or `hansa.Metrics`.

    With `jit`, the functions are JAX's: `shared` holds JAX's arrays, by name or as the pytree of a `JaxModel`; `key` is one of
    `jax.random`; a state is any pytree of arrays, whose structure, shapes and dtypes every step keeps; `step` is compiled once
    for each shape of a batch, and may reuse the old state's memory. To step through it, compute within `jax.disable_jit()`.
    Without `jit` they may be of NumPy, PyTorch or anything else: `shared` and batches hold NumPy arrays, `key` is a
    `hansa.Key`, and a state is any object.

    Attributes:
        init: makes the state of a visit.
        step: one batch.
        final: what is sent.
        batch_size: examples a batch; the last batch of an epoch may be smaller.
        epochs: passes over the client's examples, reshuffled for each; None for as many as `steps` needs.
        steps: at most so many batches; None for no limit. At least one of the two is given.
        drop_remainder: leave out the smaller batch at the end of each epoch; then JAX compiles for one shape only.
        jit: whether the functions are JAX's, and `step` is compiled.
        model: the model that is trained; says which leaves no optimiser changes. With `jit` and a `JaxModel`, `shared` is the
            pytree that its `make` gives, and so is the tree that `final` returns.

    Raises:
        ConfigError: there is no end, a number is less than 1, or one of the three is no function.
    """

    init: Callable[[Any, Any], Any]
    step: Callable[[Any, Any], Any]
    final: Callable[[Any, Any], Any]
    batch_size: int = 32
    epochs: int | None = None
    steps: int | None = None
    drop_remainder: bool = False
    jit: bool = True
    model: Model | None = None

    def __post_init__(self) -> None:
        for name in ("init", "step", "final"):
            if not callable(function := getattr(self, name)):
                raise ConfigError(
                    f"{name} is a function, not {type(function).__name__}", hint="pass the function itself"
                )
        if self.epochs is None and self.steps is None:
            raise ConfigError("client steps without an end", hint="give epochs=..., or steps=..., or both")
        for name in ("batch_size", "epochs", "steps"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ConfigError(f"{name} is at least 1, not {number}")

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves of its updates that no optimiser should touch: the model's."""
        return frozenset() if self.model is None else self.model.buffers

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: `broadcast` is whatever the algorithm sends.

        Raises:
            DataError: the client has nothing to train on, or numbers that JAX would cut.
            TreeMismatch: a step changed the form of the state, or the tree is not a pytree like the model's.
            InputError: a function returned nothing, or `final` something else than it should.
            MissingExtra: `jit`, and JAX is not installed.
        """
        examples, runner = training_examples(context), self._runner
        key, limits = context.key.child("shuffle"), {"epochs": self.epochs, "steps": self.steps}
        batches = examples.shuffle_repeat(self.batch_size, key, drop_remainder=self.drop_remainder, **limits)
        shared, own_key = runner.lent(broadcast, context)
        if (state := self.init(shared, own_key)) is None:
            raise _wrong("init", "a state", None, context)
        state = runner.begun(state)
        for done, batch in enumerate(batches, 1):
            state = runner.stepped(state, batch)
            context.progress(done, 0)
        return self._update(self.final(shared, state), shared, len(examples), context)

    @cached_property
    def _runner(self) -> Runner:
        if not self.jit:
            return PlainSteps(self.step)
        from hansa.training.jitted import JittedSteps  # JAX, only where it is used

        return JittedSteps(self.step, self.model)

    def _update(self, found: Any, shared: Any, examples: int, context: ClientContext) -> Update:
        """What `final` returned, as an update."""
        leaves, weight = self._runner.leaves(found, shared), None
        metrics: Mapping[str, Any] = Metrics()
        if leaves is None and isinstance(found, tuple) and len(found) == 3 and isinstance(found[2], Mapping):
            leaves, weight, metrics = self._runner.leaves(found[0], shared), found[1], found[2]
        if leaves is None:
            raise _wrong("final", f"{self._runner.form}, or (that, weight, metrics by name)", found, context)
        for name, leaf in leaves.items():
            if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
                raise _wrong("final", f"an array as leaf {name!r}", leaf, context)
        counts = float(examples) if weight is None else _number(weight)
        if not isinstance(counts, float) or not 0 <= counts < math.inf:
            raise _wrong("final", "a finite weight of at least 0, or None", counts, context)
        if not isinstance(metrics, Metrics):
            numbers = {name: _number(value) for name, value in metrics.items()}
            metrics = measured(numbers, counts, f"client {context.id!r}, final")
        return Update({name: np.asarray(leaf).copy() for name, leaf in leaves.items()}, counts, metrics)


@dataclass(frozen=True)
class PlainSteps:
    """The functions as they are, over NumPy arrays by name."""

    step: Callable[[Any, Any], Any]
    form: str = TREE

    def lent(self, broadcast: Tree, context: ClientContext) -> tuple[Any, Any]:
        """Copies, which PyTorch may share the memory of, and a key of Hansa's."""
        return {name: np.array(leaf) for name, leaf in broadcast.items()}, context.key.child("init")

    def begun(self, state: Any) -> Any:
        """The same."""
        return state

    def stepped(self, state: Any, batch: Batch) -> Any:
        """The state after one batch, if it is of the same kind as before."""
        after = self.step(state, batch)
        if type(after) is not type(state):
            raise InputError(
                f"step returned {_said(after)}, and the state before was {_said(state)}",
                hint="return the new state from step",
            )
        return after

    def leaves(self, found: Any, shared: Any) -> Mapping[str, Any] | None:  # noqa: ARG002 - a port's signature
        """The dict itself."""
        return by_name(found)


def by_name(found: Any) -> Mapping[str, Any] | None:
    """A mapping whose names are text; None for anything else."""
    return found if isinstance(found, Mapping) and all(isinstance(name, str) for name in found) else None


def _number(value: Any) -> Any:
    """A number of any framework as a float; anything else as it is."""
    array = np.asarray(value)
    real = array.dtype.kind in "biuf" or (is_floating(array) and array.dtype.kind != "c")
    return float(array) if not array.shape and real else value


def _wrong(function: str, expected: str, found: object, context: ClientContext) -> InputError:
    return InputError(
        f"{function} returns {expected}; found {_said(found)}",
        where=f"client {context.id!r}",
        hint="return that from it",
    )


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return f"a tuple ({', '.join(type(each).__name__ for each in value)})"
    return repr(value) if isinstance(value, int | float) or value is None else type(value).__name__
