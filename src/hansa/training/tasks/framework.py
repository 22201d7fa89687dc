"""What tasks ask of a model's framework beside a native object, and what happens where its adapter does not say.

An adapter may offer `Habits`, so that tasks meet their framework as they know it, and `OptimizerStates`, so that an optimiser
can be kept or federated. This file must not know any framework.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hansa.core.keys import Key
from hansa.core.tree import Tree
from hansa.models.model import Batch, NativeModel, field_of


@runtime_checkable
class Habits(Protocol):
    """A model whose adapter knows what its framework's own code is used to."""

    def tensors(self, batch: Batch, device: str) -> tuple[Any, ...]:
        """The inputs of a batch and its target, as the framework's own arrays on a device."""
        ...

    def mode(self, native: Any, *, training: bool) -> None:
        """Put a native object into training or evaluation mode."""
        ...

    def seeded(self, key: Key, device: str) -> AbstractContextManager[None]:
        """The framework's global generators seeded by a key, and put back afterwards."""
        ...


@runtime_checkable
class OptimizerStates(Protocol):
    """A model whose adapter takes the state out of its framework's optimisers and puts it back."""

    def optimizer_state(self, native: Any, optimizer: Any) -> Tree:
        """What an optimiser of a native object remembers; a leaf is named "slot/parameter"."""
        ...

    def load_optimizer(self, native: Any, optimizer: Any, state: Tree) -> None:
        """Let an optimiser of a native object go on from an `optimizer_state`."""
        ...

    def optimizer_form(self, native: Any, optimizer: Any) -> Tree:
        """Zeros in the form of the state that an optimiser will have; uses both up."""
        ...


def native_of(model: NativeModel, params: Tree, device: str, key: Key) -> Any:
    """A native object with these parameters; with its random streams made of `key`, where the adapter's objects hold such."""
    native: Callable[..., Any] = model.native
    return native(params, device, **({"key": key} if "key" in inspect.signature(native).parameters else {}))


def batch_of(model: NativeModel, batch: Batch, device: str) -> tuple[Any, ...]:
    """The inputs of a batch and its target; NumPy arrays where the adapter has no other habit."""
    if isinstance(model, Habits):
        return model.tensors(batch, device)
    inputs = getattr(model, "inputs", "x")
    names = (*([inputs] if isinstance(inputs, str) else inputs), getattr(model, "target", "y"))
    return tuple(field_of(batch, name, type(model).__name__) for name in names)


def set_mode(model: NativeModel, native: Any, *, training: bool) -> None:
    """Put a native object into training or evaluation mode, where its framework has such."""
    if isinstance(model, Habits):
        model.mode(native, training=training)


@contextmanager
def seeded(model: NativeModel, key: Key, device: str) -> Iterator[None]:
    """Python's, NumPy's and the framework's global generators seeded by a key, and put back afterwards.

    A scientist's own pipeline draws from them: dropout, augmentation, the shuffling of a loader.
    """
    before, before_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is this one that is meant
    framework = model.seeded(key, device) if isinstance(model, Habits) else nullcontext()
    try:
        random.seed(key.integer(63))
        np.random.seed(key.integer(32))  # noqa: NPY002 - it is this one that is meant
        with framework:
            yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)  # noqa: NPY002 - it is this one that is meant
