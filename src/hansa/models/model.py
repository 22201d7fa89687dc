"""The Model port: what Hansa needs of a learning framework, in five functions.

A model is a pure value. Its parameters live outside of it, in trees: NumPy's at every seam, the framework's own between
`load` and `dump`. `hansa.testing.check_model` is the conformance kit that every adapter passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hansa.core.keys import Key
from hansa.core.tree import Array, Tree
from hansa.errors import DataError

Batch = Mapping[str, Array]
"""Examples by field, the first axis of every array the batch."""

Resident = dict[str, Any]
"""A tree inside a framework: the same names, the framework's own arrays on the framework's own device."""


def field_of(batch: Batch, name: str, used_by: str) -> Array:
    """The field `name` of a batch.

    Raises:
        DataError: there is none; says how to name another one to `used_by`.
    """
    if name not in batch:
        raise DataError(
            f"{used_by} needs the field {name!r}, and the data have {', '.join(map(repr, batch))}",
            hint=f"name the fields: {used_by}(..., inputs=..., target=...)",
        )
    return batch[name]


def label_outside(label: int, classes: int) -> DataError:
    """The error for a label that a model of so many classes has no output for."""
    return DataError(
        f"a label is {label}, but the model tells {classes} classes apart, numbered from 0 to {classes - 1}",
        hint="check the labels, or give the model's last layer as many outputs as there are classes",
    )


class Gradient(NamedTuple):
    """What one batch of training gives.

    Attributes:
        loss: the mean loss over the batch, a scalar of the framework in float32 or wider; `float(loss)` waits for it.
        gradient: its gradient, for every leaf that is trained.
        buffers: the new values of the leaves that the forward pass itself changes, such as BatchNorm's statistics.
    """

    loss: Any
    gradient: Resident
    buffers: Resident


class Prediction(NamedTuple):
    """What a model says of a batch.

    Attributes:
        loss: the mean loss over the batch.
        outputs: the model's outputs as NumPy arrays, shape (batch, ...); scores of classes for a classifier.
    """

    loss: float
    outputs: Array


class Model(Protocol):
    """A model of some framework, with its loss."""

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves that no optimiser changes: statistics, counters, frozen parameters."""
        ...

    def init(self, key: Key) -> Tree:
        """Initial parameters and buffers; equal keys give equal bits."""
        ...

    def load(self, params: Tree, device: str) -> Resident:
        """A copy of NumPy arrays in the framework, aligned to 64 bytes so that the same kernels run everywhere."""
        ...

    def dump(self, params: Resident) -> Tree:
        """A copy as NumPy arrays, dtypes and values preserved."""
        ...

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:
        """Loss and gradient on one batch in training mode. Changes neither `params` nor any global generator."""
        ...

    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """Loss and outputs on one batch in evaluation mode."""
        ...


class NativeModel(Model, Protocol):
    """A model whose framework has an object for it, such as a module or an estimator: what tasks are given to work on."""

    def native(self, params: Tree, device: str) -> Any:
        """A framework's object with these parameters and buffers, in training mode; the caller's own to change."""
        ...

    def extract(self, native: Any) -> Tree:
        """Its parameters and buffers: a copy as NumPy arrays, with the names, shapes and dtypes that `init` gives."""
        ...


@runtime_checkable
class CompilingModel(Protocol):
    """A model whose framework compiles functions of its arrays."""

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A pure function of trees of arrays and of numbers, compiled; as it is where the framework cannot."""
        ...

    def zero(self, device: str) -> Any:
        """A sum of no losses, as the framework's own number: nothing is compiled anew when it becomes one of some."""
        ...
