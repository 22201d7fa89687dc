"""Clients' examples and batches as arrays of few shapes, so that little is compiled: what a `Visit` is made of.

Batches hold exactly what the definition's hold. This file must not know what is computed with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from hansa.core.tree import ALIGNMENT, Array, Tree
from hansa.core.work import ClientContext
from hansa.data import ClientDataset
from hansa.data.columns import Indices
from hansa.errors import DataError, MissingExtra
from hansa.models.jax import JaxModel, device_named, held_as, key_data
from hansa.models.model import field_of
from hansa.simulation.engines.jax.program import Start, Visit
from hansa.training import LocalTraining, kept

try:
    import jax
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "its engines") from missing

FEWEST_ROWS = 512
"""Room for examples is made for at least so many; it costs nothing where it is not written to."""

FEWEST_BATCHES = 32
"""Room for batches is made for at least so many."""

COMMON_BYTES = 2 << 30
"""Arrays larger than this are not put on the device whole."""


@dataclass(frozen=True)
class Course:
    """One client's training, before it is made arrays of.

    Attributes:
        context: the client's.
        columns: the arrays that hold its examples, by field of the model, the target last.
        index: which rows of them are the client's; None for all.
        orders: which of the client's rows each batch holds.
        optimizer: the leaves of the optimiser that goes on; none where it begins anew.
    """

    context: ClientContext
    columns: tuple[Array, ...]
    index: Indices | None
    orders: Sequence[Indices]
    optimizer: Tree

    @property
    def rows(self) -> int:
        """How many examples the columns hold for the client."""
        return len(self.columns[-1]) if self.index is None else len(self.index)

    @cached_property
    def sizes(self) -> list[int]:
        """How many examples each batch has."""
        return [len(order) for order in self.orders]


def course_of(training: LocalTraining, model: JaxModel, carried: Tree, context: ClientContext) -> Course:
    """What a client is to do; `carried` are the optimiser's leaves in the broadcast.

    Raises:
        DataError: there is nothing to train on, or a field is missing.
    """
    examples = context.data.get("train")
    optimizer = kept.remembered(training.optimizer_state, carried, context)
    names = (*((model.inputs,) if isinstance(model.inputs, str) else model.inputs), model.target)
    if not isinstance(examples, ClientDataset) or examples.stored[2]:
        return _by_batches(training, names, optimizer, context)
    arrays, index, _ = examples.stored
    orders = examples.orders(
        training.batch_size,
        context.key.child("shuffle"),
        epochs=training.epochs,
        steps=training.steps,
        drop_remainder=training.drop_remainder,
    )
    columns = tuple(field_of(arrays, name, "JaxModel") for name in names)
    return Course(context, columns, index, list(orders), optimizer)


def _by_batches(training: LocalTraining, names: tuple[str, ...], optimizer: Tree, context: ClientContext) -> Course:
    """Of the definition's own batches, end to end: a transform may change an example each time that it is read."""
    batches = list(training.batches(context))
    columns = tuple(np.concatenate([field_of(batch, name, "JaxModel") for batch in batches]) for name in names)
    ends = np.cumsum([len(batch[names[-1]]) for batch in batches])
    orders = [np.arange(end - len(batch[names[-1]]), end) for end, batch in zip(ends, batches, strict=True)]
    return Course(context, columns, None, orders, optimizer)


class Examples:
    """What several clients share is put on the device once and gathered there; anything else is gathered before.

    Args:
        training: the definition.
        model: its model.
        device: in JAX's words.
    """

    def __init__(self, training: LocalTraining, model: JaxModel, device: str) -> None:
        self._training, self._model, self._device = training, model, device
        self._common: tuple[Array, ...] | None = None
        self._put: tuple[Any, ...] = ()

    def visits(self, start: Start, courses: Sequence[Course], lanes: int) -> tuple[Visit, bool]:
        """All courses as one visit, each array with a first axis of `lanes`; and whether they share columns, without it.

        A lane without a course has no batch.
        """
        shared = self._shared(courses)
        count, batches = np.zeros(lanes, np.int32), bucket(max(len(each.orders) for each in courses), FEWEST_BATCHES)
        rows = np.zeros((lanes, batches, self._training.batch_size), np.int32)
        sizes = np.ones((lanes, batches), np.int32)
        for lane, course in enumerate(courses):
            count[lane], sizes[lane, : len(course.sizes)] = len(course.orders), course.sizes
            index = course.index if shared else None
            for room, order in zip(rows[lane], course.orders, strict=False):
                held = order if index is None else index[order]
                room[: len(held)], room[len(held) :] = held, held[0]
        factors = [self._training.schedule(course.context.round) for course in courses]
        factor = np.array([*factors, *[0.0] * (lanes - len(courses))], jax.dtypes.canonicalize_dtype(float))
        columns = self._put if shared else tuple(self._gathered(courses, lanes))
        optimizer = self._optimizers(start, courses, lanes)
        return Visit(columns, rows, sizes, self._keys(courses, lanes, batches), count, factor, optimizer), shared

    def _optimizers(self, start: Start, courses: Sequence[Course], lanes: int) -> tuple[Any, Any] | None:
        """(slots, steps) of optimisers that go on, beside some that begin anew; None where all do."""
        if not any(course.optimizer for course in courses):
            return None
        states = [
            kept.unpacked(course.optimizer, self._model, self._device)
            if course.optimizer
            else self._training.optimizer.init(start.trained)
            for course in (*courses, *[courses[0]] * (lanes - len(courses)))
        ]
        first, *others = [dict(state.slots) for state in states]
        slots = jax.tree.map(lambda *leaves: np.stack(leaves), first, *others)
        return slots, np.array([state.steps for state in states], np.int32)

    def _keys(self, courses: Sequence[Course], lanes: int, batches: int) -> Array | None:
        if not self._model.draws:
            return None
        keys = np.zeros((lanes, batches, 2), np.uint32)
        for lane, course in enumerate(courses):
            for batch in range(len(course.orders)):
                keys[lane, batch] = key_data(course.context.key.child("step", batch))
        return keys

    def _gathered(self, courses: Sequence[Course], lanes: int) -> Iterator[Array]:
        """Each field of the clients' examples, with room for as many rows as the largest needs and some more."""
        room = bucket(max(course.rows for course in courses), FEWEST_ROWS)
        for number, first in enumerate(courses[0].columns):
            dtype: np.dtype[Any] | None = None
            for lane, course in enumerate(courses):
                column = course.columns[number]
                values = column if course.index is None else column.take(course.index, axis=0)
                if (column.dtype, column.shape[1:]) != (first.dtype, first.shape[1:]):
                    raise DataError("clients have examples of different forms", where=f"client {course.context.id!r}")
                held = held_as(str(number), values)
                if dtype is None:
                    dtype = held
                    gathered = _empty((lanes, room, *first.shape[1:]), dtype)
                gathered[lane, : len(values)] = values
            yield gathered

    def _shared(self, courses: Sequence[Course]) -> bool:
        """Whether all of them are views of the arrays that are on the device; the first that may be are put there."""
        first = courses[0]
        if self._common is None and first.index is not None and 4 * len(first.index) <= len(first.columns[-1]):
            self._common = first.columns
            self._put = self._put_whole(first.columns)
        common = self._common
        return bool(self._put) and all(
            all(one is other for one, other in zip(course.columns, cast("Any", common), strict=True))
            for course in courses
        )

    def _put_whole(self, columns: tuple[Array, ...]) -> tuple[Any, ...]:
        if sum(column.nbytes for column in columns) > COMMON_BYTES:
            return ()
        try:
            held = [column.astype(held_as("", column), copy=False) for column in columns]
        except DataError:  # some client's value does not fit; those of the others do
            return ()
        return tuple(jax.device_put(column, device_named(self._device)) for column in held)


def bucket(number: int, least: int) -> int:
    """`least` doubled until it is no less than `number`."""
    return least << max(0, (number - 1).bit_length() - (least - 1).bit_length())


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Memory that JAX can use as it is, because it is aligned; what is never written to is never made."""
    count = int(np.prod(shape)) * dtype.itemsize
    room = np.empty(count + ALIGNMENT, np.uint8)
    begin = -room.ctypes.data % ALIGNMENT
    return room[begin : begin + count].view(dtype).reshape(shape)
