"""Batches as tensors on a device: gathered many at a time from where a client's examples lie, in the definition's order.

Every batch starts at a multiple of 64 bytes, as the definition's copies do. This file must not know what is trained.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from hansa.core.tree import ALIGNMENT
from hansa.core.work import ClientContext
from hansa.data import ClientDataset
from hansa.errors import MissingExtra
from hansa.models.torch import TorchModel
from hansa.training import LocalTraining

try:
    import torch
    from torch import Tensor
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

GATHERED = 1 << 22
"""Bytes of examples gathered at a time: few enough to be still in the processor's cache when they are trained on."""

PLAIN = frozenset(["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"])
"""The dtypes that PyTorch and NumPy share."""


Form = tuple[tuple[tuple[int, ...], torch.dtype], ...]
"""(shape of one example, dtype) of each tensor of a batch."""


class Run(NamedTuple):
    """Batches of one size, one after the other.

    Attributes:
        batches: how many.
        size: how many examples each has.
        form: what an example looks like.
        tensors: the model's inputs and its target, shape (batches, size, ...).
    """

    batches: int
    size: int
    form: Form
    tensors: tuple[Tensor, ...]

    def single(self) -> Iterator[Run]:
        """Each batch alone."""
        if self.batches == 1:
            yield self
            return
        for place in range(self.batches):
            yield Run(1, self.size, self.form, tuple(tensor[place : place + 1] for tensor in self.tensors))

    @property
    def first(self) -> tuple[Tensor, ...]:
        """The inputs and the target of the first batch, shape (size, ...)."""
        return tuple(tensor[0] for tensor in self.tensors)


def batches(
    training: LocalTraining, context: ClientContext, device: str
) -> Iterator[tuple[int, Form, tuple[Tensor, ...]]]:
    """(size, form, inputs and target) of the batches of a visit, those of `training.batches(context)`."""
    for run in runs(training, context, device):
        for each in zip(*(tensor.unbind(0) for tensor in run.tensors), strict=True):
            yield run.size, run.form, each


def runs(training: LocalTraining, context: ClientContext, device: str) -> Iterator[Run]:
    """The same, as many at once as were gathered."""
    model, examples = training.model, context.data.get("train")
    assert isinstance(model, TorchModel)  # noqa: S101 - engines are made for nothing else; told to mypy
    fields = (*((model.inputs,) if isinstance(model.inputs, str) else model.inputs), model.target)
    if not isinstance(examples, ClientDataset) or not _plain(examples, fields):
        for batch in training.batches(context):
            tensors = tuple(tensor[None] for tensor in model.tensors(batch, device))
            yield Run(1, len(next(iter(batch.values()))), _form(tensors), tensors)
        return
    arrays, index, _ = examples.stored
    orders = examples.orders(
        training.batch_size,
        context.key.child("shuffle"),
        epochs=training.epochs,
        steps=training.steps,
        drop_remainder=training.drop_remainder,
    )
    columns = [arrays[name] for name in fields]
    at_once = max(1, GATHERED // max(1, training.batch_size * sum(_row_bytes(column) for column in columns)))
    while chunk := list(itertools.islice(orders, at_once)):
        yield from _gathered(columns, index, chunk, device)


def _plain(examples: ClientDataset, fields: Sequence[str]) -> bool:
    arrays, _, transforms = examples.stored
    return not transforms and all(name in arrays and _torch_dtype(arrays[name].dtype) is not None for name in fields)


@functools.cache  # NumPy spells a name out anew each time, which takes longer than to gather a batch
def _torch_dtype(dtype: np.dtype[Any]) -> torch.dtype | None:
    """The same in PyTorch; None where there is none."""
    found: torch.dtype | None = getattr(torch, dtype.name) if dtype.isnative and dtype.name in PLAIN else None
    return found


def _row_bytes(column: np.ndarray[Any, Any]) -> int:
    return int(column.dtype.itemsize * math.prod(column.shape[1:]))


def _gathered(
    columns: Sequence[np.ndarray[Any, Any]], index: np.ndarray[Any, Any] | None, chunk: list[Any], device: str
) -> Iterator[Run]:
    """The batches of these rows; only the last batch of an epoch may be smaller than the first here."""
    sizes = [len(rows) for rows in chunk]
    largest, widths = max(sizes), []
    for column in columns:
        step = ALIGNMENT // math.gcd(_row_bytes(column), ALIGNMENT)
        widths.append(-(-largest // step) * step)
    if len(chunk) == 1:
        widths = [largest] * len(columns)
    rows = np.zeros((len(chunk), max(widths)), np.int64)
    for place, (size, order) in enumerate(zip(sizes, chunk, strict=True)):
        rows[place, :size] = order
    if index is not None:
        rows = index[rows]
    *inputs, target = (
        _taken(column, rows[:, :width], largest).to(device) for column, width in zip(columns, widths, strict=True)
    )
    target = target if target.is_floating_point() else target.long()
    wholes, first = (*inputs, target), 0
    form = _form(wholes)
    for size, same in itertools.groupby(sizes):
        count = sum(1 for _ in same)
        yield Run(count, size, form, tuple(whole[first : first + count, :size] for whole in wholes))
        first += count


def _form(tensors: Sequence[Tensor]) -> Form:
    return tuple((tuple(tensor.shape[2:]), tensor.dtype) for tensor in tensors)


def _taken(column: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], largest: int) -> Tensor:
    """The rows of a column; shape (batches, largest, ...), each batch with room behind it up to a multiple of 64 bytes."""
    room = torch.empty((*rows.shape, *column.shape[1:]), dtype=_torch_dtype(column.dtype))
    if column.flags.c_contiguous:
        column.take(rows, axis=0, out=room.numpy(), mode="clip")  # "clip" spares a copy: no row lies outside
    else:
        room.numpy()[...] = column[rows]  # `take` would copy the whole column first
    return room[:, :largest]
