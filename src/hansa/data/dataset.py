"""One client's examples: named arrays with a common first axis, seen through an index and a transform.

A partition of a data set over ten thousand clients costs an index each and no copy of the data. Nothing is gathered or
transformed before a batch is asked for.

This file must not know where the arrays come from, whose they are, or which framework trains on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hansa.core.keys import Key
from hansa.data import pictures
from hansa.data.columns import MASK, Indices, checked_index, column, common_rows
from hansa.data.held_out import held_out
from hansa.errors import ConfigError, DataError, UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Batch = dict[str, np.ndarray[Any, Any]]
"""Arrays by name, each with one row an example. A batch is fresh memory: it is the receiver's to change."""

BatchTransform = Callable[[Batch], Batch]
"""Turns a batch into a batch of as many examples; it may add, drop and replace fields."""


class ClientDataset:
    """Named arrays with a common first axis; immutable.

    Args:
        arrays: for each field all its values, shape (examples, ...). Not copied: do not change them afterwards.
        index: which rows of the arrays are this data set's, in this order; all of them unless given.
        transform: applied to every batch when it is read, not before.

    Raises:
        DataError: there is no field, a field is not an array of numbers or text, is named "mask" or has another number
            of rows than the others, or the index points outside the arrays.
    """

    __slots__ = ("_arrays", "_index", "_rows", "_transforms")

    def __init__(
        self,
        arrays: Mapping[str, npt.ArrayLike],
        *,
        index: npt.ArrayLike | None = None,
        transform: BatchTransform | None = None,
    ) -> None:
        self._arrays = {name: column(name, values) for name, values in arrays.items()}
        self._rows = common_rows(self._arrays)
        self._index = None if index is None else checked_index(index, self._rows)
        self._transforms: tuple[BatchTransform, ...] = () if transform is None else (transform,)

    def __len__(self) -> int:
        return self._rows if self._index is None else len(self._index)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name} {values.dtype}{list(values.shape[1:])}" for name, values in self._arrays.items())
        through = "".join(f" -> {each!r}" for each in self._transforms)
        return f"ClientDataset({len(self)} examples: {fields}{through})"

    def _repr_html_(self) -> str:
        return pictures.dataset_html(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields as they are stored; a transform may give batches others."""
        return tuple(self._arrays)

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        """The stored column `name`, not transformed; shape (examples, ...), read-only.

        Raises:
            UnknownName: there is no such field.
        """
        if name not in self._arrays:
            raise UnknownName.among("field", name, self._arrays)
        values = self._arrays[name]
        if self._index is None:
            return values
        gathered = values[self._index]
        gathered.flags.writeable = False
        return gathered

    def select(self, indices: npt.ArrayLike) -> ClientDataset:
        """Only the examples at `indices` (whole numbers below `len(self)`), in that order; a view.

        Raises:
            DataError: an index is outside of this data set, or they are not whole numbers.
        """
        chosen = checked_index(indices, len(self))
        return self._view(chosen if self._index is None else self._index[chosen], self._transforms)

    def take(self, n: int) -> ClientDataset:
        """The first `n` examples, or all where there are fewer; a view."""
        if n < 0:
            raise ConfigError(f"cannot take {n} examples", hint="take zero or more")
        return self.select(np.arange(min(n, len(self))))

    def with_transform(self, transform: BatchTransform) -> ClientDataset:
        """The same examples with `transform` applied to every batch, after those there are already."""
        return self._view(self._index, (*self._transforms, transform))

    def all(self) -> Batch:
        """Everything as one transformed batch."""
        return self._batch(slice(None))

    def batches(self, size: int) -> Iterator[Batch]:
        """One pass in order; every batch has `size` examples, the last one perhaps fewer.

        Raises:
            ConfigError: `size` is less than 1.
        """
        _check_size(size)
        return (self._batch(slice(start, start + size)) for start in range(0, len(self), size))

    def padded_batches(self, size: int) -> Iterator[Batch]:
        """One pass in order in batches of exactly `size` rows, for code that is compiled for one shape.

        The last batch is filled up by repeating its last example. Each has an extra field "mask", bool of shape
        (size,), which is True for the real ones. The transform sees only real examples.

        Raises:
            ConfigError: `size` is less than 1.
        """
        return (_padded(batch, size) for batch in self.batches(size))

    def shuffle_repeat(
        self, size: int, key: Key, *, epochs: int | None = None, steps: int | None = None, drop_remainder: bool = False
    ) -> Iterator[Batch]:
        """Batches of `size` examples in a new order every epoch; epoch `e` is shuffled with `key.child("epoch", e)`.

        Args:
            size: examples a batch. The last batch of an epoch is smaller where `size` does not divide `len(self)`.
            key: the source of the orders; the same key gives the same batches.
            epochs: stop after so many passes.
            steps: stop after so many batches. Whichever comes first; without both the stream is infinite.
            drop_remainder: leave out the smaller batch at the end of each epoch.

        Raises:
            ConfigError: `size` is less than 1, or `epochs` or `steps` less than 0.
            DataError: there is no batch to give: no example at all, or with `drop_remainder` fewer than `size`.
        """
        self._check_batches(size, epochs, steps, drop_remainder)
        return (self._batch(rows) for rows in self._orders(size, key, epochs, steps, drop_remainder))

    def orders(
        self, size: int, key: Key, *, epochs: int | None = None, steps: int | None = None, drop_remainder: bool = False
    ) -> Iterator[Indices]:
        """Which examples the batches of `shuffle_repeat` hold: int64 of shape (batch,) each, counted in this data set.

        For code that gathers by itself, from `stored`. Arguments and errors are those of `shuffle_repeat`.
        """
        self._check_batches(size, epochs, steps, drop_remainder)
        return self._orders(size, key, epochs, steps, drop_remainder)

    @property
    def stored(self) -> tuple[Mapping[str, np.ndarray[Any, Any]], Indices | None, tuple[BatchTransform, ...]]:
        """(the arrays, which rows of them are this data set's in its order or None for all, the transforms of every batch).

        Several clients' data sets may be views of the same arrays. They are not to be written to.
        """
        return self._arrays, self._index, self._transforms

    def train_test_split(
        self, test: float, *, seed: int = 0, stratify: str | None = None
    ) -> tuple[ClientDataset, ClientDataset]:
        """Two views of it, (train, test), disjoint and together everything, each in this data set's order.

        Args:
            test: the share to hold out, between 0 and 1; rounded to whole examples, so the result may be empty.
            seed: the choice is the same for the same seed on every machine.
            stratify: a field whose every value shall have the same share (to within one example) in both.

        Raises:
            ConfigError: `test` is not between 0 and 1.
            UnknownName: there is no field `stratify`.
            DataError: the field `stratify` has more than one value an example.
        """
        groups = None if stratify is None else self[stratify]
        train, held = held_out(len(self), test, seed, groups)
        return self.select(train), self.select(held)

    def label_counts(self, field: str = "y", classes: int | None = None) -> Indices:
        """How many examples each class has; int64, shape (classes,) or up to the highest label that occurs.

        Raises:
            UnknownName: there is no such field.
            DataError: the labels are not one whole number an example, or one is outside [0, classes).
        """
        labels = self[field]
        if labels.ndim != 1 or labels.dtype.kind not in "iub":
            raise DataError(
                f"labels must be one whole number an example; found {labels.dtype} of shape {labels.shape}",
                where=f"field {field!r}",
                hint="name the field that holds the labels",
            )
        if labels.size and (labels.min() < 0 or (classes is not None and labels.max() >= classes)):
            worst = int(labels.min() if labels.min() < 0 else labels.max())
            raise DataError(
                f"label {worst} is outside [0, {classes if classes is not None else '...'})",
                where=f"field {field!r}",
                hint="number the classes from 0",
            )
        return np.bincount(labels.astype(np.int64), minlength=classes or 0).astype(np.int64, copy=False)

    def plot(
        self,
        n: int = 16,
        *,
        inputs: str = "x",
        target: str = "y",
        columns: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
    ) -> Figure:
        """The first `n` examples as a model sees them: a grid of images with their labels or masks, or else a table.

        Args:
            n: how many.
            inputs: the field with the images: grey or coloured, channels first or last, or flat squares from 8×8 on.
            target: the field with the labels, or with masks of shape (examples, height, width).
            columns: fields to show as a table, whatever `inputs` holds; "x[3]" is the fourth number of "x".
            classes: the labels' names.

        Raises:
            ConfigError: `n` is less than 1.
            DataError: there are no examples.
            UnknownName: one of `columns` does not exist.
            MissingExtra: matplotlib is not installed.
        """
        return pictures.plot_examples(self, n, inputs, target, columns, classes)

    def _view(self, index: Indices | None, transforms: tuple[BatchTransform, ...]) -> ClientDataset:
        """Another view of the same arrays, which were checked already."""
        view = object.__new__(ClientDataset)
        view._arrays, view._rows, view._index, view._transforms = self._arrays, self._rows, index, transforms
        return view

    def _check_batches(self, size: int, epochs: int | None, steps: int | None, drop_remainder: bool) -> None:
        _check_size(size)
        for name, limit in (("epochs", epochs), ("steps", steps)):
            if limit is not None and limit < 0:
                raise ConfigError(f"{name} must be 0 or more, not {limit}")
        least = size if drop_remainder else 1
        if len(self) < least:
            raise DataError(
                f"{len(self)} examples make no batch; at least {least} are needed",
                hint="choose a smaller batch size, or drop_remainder=False" if len(self) else "give it examples",
            )

    def _orders(
        self, size: int, key: Key, epochs: int | None, steps: int | None, drop_remainder: bool
    ) -> Iterator[Indices]:
        end = len(self) // size * size if drop_remainder else len(self)
        passes = itertools.count() if epochs is None else range(epochs)
        shuffled = (key.child("epoch", epoch).generator().permutation(len(self)) for epoch in passes)
        batches = (order[start : start + size] for order in shuffled for start in range(0, end, size))
        return itertools.islice(batches, steps)

    def _batch(self, rows: slice | Indices) -> Batch:
        """The transformed batch of `rows`, which count in this view."""
        where = rows if self._index is None else self._index[rows]
        batch = {
            # A slice is copied, because a batch is the receiver's to change.
            name: values[where].copy() if isinstance(where, slice) else values[where]
            for name, values in self._arrays.items()
        }
        count = len(next(iter(batch.values())))
        for transform in self._transforms:
            batch = _checked_batch(transform(batch), count, transform)
        return batch


def _checked_batch(batch: object, rows: int, transform: BatchTransform) -> Batch:
    """`batch`, which came out of `transform`, if it has as many examples as went in."""
    where = f"transform {transform!r}"
    if not isinstance(batch, dict) or not batch:
        raise DataError(f"expected a dict of arrays, found {batch!r:.80}", where=where, hint="return the batch")
    for name, values in batch.items():
        if np.ndim(values) == 0 or len(values) != rows:
            raise DataError(
                f"field {name!r} came back with shape {np.shape(values)}, expected {rows} rows",
                where=where,
                hint="a transform may change examples, not their number; drop examples with select()",
            )
    if MASK in batch:
        raise DataError(f"a field cannot be named {MASK!r}", where=where, hint="padded_batches() uses it; rename yours")
    return batch


def _padded(batch: Batch, size: int) -> Batch:
    real = len(next(iter(batch.values())))
    if real < size:
        batch = {name: np.concatenate([v, np.repeat(v[-1:], size - real, axis=0)]) for name, v in batch.items()}
    return {**batch, MASK: np.arange(size) < real}


def _check_size(size: int) -> None:
    if size < 1:
        raise ConfigError(f"a batch size must be at least 1, not {size}")
