"""What one example looks like to a model, and the check that a client's data look like that.

The check runs in memory that does not grow with the data, before the first batch is trained on: a shape or a NaN that
is found here names the client, the field and the example; found in a loss it names nothing.

This file must not know how data are partitioned or which model will see them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hansa.data.dataset import ClientDataset
from hansa.errors import DataError

CHUNK_BYTES = 16 * 2**20
"""About how much is read at a time."""


@dataclass(frozen=True)
class Field:
    """One field of an example as a model sees it, after the batch transform.

    Attributes:
        shape: of one example, without the batch's axis.
        dtype: NumPy's name of it, such as "float32".
        classes: for labels, how many there are: every value lies in [0, classes).
        range: for other numbers, the lowest and the highest value; None where nobody says.
        missing: NaN is allowed, for a value that is missing; whoever trains must know what to do about it.
    """

    shape: tuple[int, ...]
    dtype: str
    classes: int | None = None
    range: tuple[float, float] | None = None
    missing: bool = False


Schema = Mapping[str, Field]


@dataclass(frozen=True)
class Expected:
    """A schema, and whose it is: "the federation's schema", or the client that it was inferred from."""

    schema: Schema
    origin: str

    def check(self, dataset: ClientDataset, client: str) -> None:
        """Raises DataError unless a client's examples are as expected; see `check`."""
        check(dataset, self.schema, client=client, origin=self.origin)


def schema_of(dataset: ClientDataset) -> Schema:
    """The fields of `dataset`'s transformed batches. The number of classes is not guessed: a client may lack some.

    Raises:
        DataError: it has no example to look at.
    """
    if not len(dataset):
        raise DataError("a schema cannot be seen from no examples", hint="give the schema, or at least one example")
    return {name: Field(values.shape[1:], values.dtype.name) for name, values in dataset.take(1).all().items()}


def inferred(splits: Mapping[str, Mapping[str, ClientDataset]], classes: Mapping[str, int | None]) -> Expected:
    """The schema of the first client that has any examples, with the numbers of classes that are known.

    Raises:
        DataError: no client has any.
    """
    for name, split in splits.items():
        for client, dataset in split.items():
            if len(dataset):
                schema = {each: replace(field, classes=classes.get(each)) for each, field in schema_of(dataset).items()}
                return Expected(schema, f"the {name} data of client {client!r}")
    raise DataError("no client has any examples", hint="give at least one client some data")


def check(dataset: ClientDataset, schema: Schema, *, client: str = "", origin: str = "the schema") -> None:
    """Raises unless the examples of `dataset` are as `schema` says; fields that it does not name may be anything.

    Shapes and dtypes are those of the first transformed batch. NaN, infinities and labels are looked for in all the
    stored values; where one is found and a transform might have mended it (filled in a missing value, renumbered the
    labels), the transformed values decide.

    Args:
        dataset: whose examples are checked.
        schema: what is expected.
        client: named in the error.
        origin: whose expectation it is, also named: "the schema", or the client that it was inferred from.

    Raises:
        DataError: no examples; a field is missing, of another shape or dtype; a NaN; a label out of range.
    """
    if _plainly(dataset, schema):
        return
    who = f"client {client!r}" if client else ""
    if not len(dataset):
        raise DataError("there are no examples", where=who, hint="leave this client out, or give it data")
    probe = dataset.take(8).all()
    for name, field in schema.items():
        where = ", ".join(filter(None, (who, f"field {name!r}")))
        if name not in probe:
            raise DataError(
                f"the field is missing; expected by {origin}, found: {', '.join(probe)}",
                where=where,
                hint="add the field, or rename yours",
            )
        found = probe[name]
        if found.shape[1:] != tuple(field.shape):
            raise DataError(
                f"examples have shape {found.shape[1:]}, expected {tuple(field.shape)} by {origin}",
                where=where,
                hint="reshape them, or add a transform that does",
            )
        if found.dtype.name != field.dtype:
            raise DataError(
                f"values are {found.dtype.name}, expected {field.dtype} by {origin}",
                where=where,
                hint=f"convert them with .astype({field.dtype!r}), or add a transform that does",
            )
        _check_values(dataset, name, field, found, where)


def _plainly(dataset: ClientDataset, schema: Schema) -> bool:
    """Whether a few stored examples, as they are, are as expected: what is told of most data sets, in microseconds."""
    arrays, index, transforms = dataset.stored
    if transforms or not len(dataset):
        return False
    for name, field in schema.items():
        if (stored := arrays.get(name)) is None:
            return False
        if stored.shape[1:] != field.shape or _name(stored.dtype) != field.dtype:
            return False
        if stored.nbytes // len(stored) * len(dataset) > CHUNK_BYTES:
            return False
        if not _all_good(stored if index is None else stored[index], field):
            return False
    return True


def _all_good(values: np.ndarray[Any, Any], field: Field) -> bool:
    """Whether no value breaks the field's promise. A sum that is finite says of floats that all are, in one pass."""
    if values.dtype.char in "fd" and field.classes is None and field.range is None:
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(values.sum()):
                return True
    bad = _bad(values, field)
    return bad is None or not bool(bad.any())


@functools.lru_cache(64)
def _name(dtype: np.dtype[Any]) -> str:
    """NumPy's name of a dtype, which it makes anew every time."""
    return dtype.name


def _check_values(dataset: ClientDataset, name: str, field: Field, probe: np.ndarray[Any, Any], where: str) -> None:
    suspect = (name in dataset.names and _faults(_stored(dataset, name), field)) or _faults([probe], field)
    faults = _faults(_transformed(dataset, name), field) if suspect else None
    if faults is None:
        return
    count, index, value = faults
    times = "1 value is" if count == 1 else f"{count} values are"
    if field.range is not None and np.isfinite(value):
        raise DataError(
            f"{times} outside of [{field.range[0]:g}, {field.range[1]:g}], the first is {value} in example {index}",
            where=where,
            hint="clip them, or declare a wider range",
        )
    if field.classes is None or not np.isfinite(value):
        raise DataError(
            f"{times} NaN or infinite, the first in example {index}",
            where=where,
            hint="drop these examples, or fill in what is missing",
        )
    raise DataError(
        f"{times} outside the {field.classes} classes [0, {field.classes}), the first is {value} in example {index}",
        where=where,
        hint="number the classes from 0, or declare as many as there are",
    )


def _faults(chunks: Iterable[np.ndarray[Any, Any]], field: Field) -> tuple[int, int, Any] | None:
    """How many values must not be there, and of the first the example's index and the value."""
    count, seen = 0, 0
    first: tuple[int, Any] | None = None
    for chunk in chunks:
        bad = _bad(chunk, field)
        if bad is None:
            return None
        if bad.any():
            count += int(bad.sum())
            if first is None:
                position = int(bad.argmax())
                first = seen + position // max(1, chunk[0].size), chunk.reshape(-1)[position]
        seen += len(chunk)
    return None if first is None else (count, *first)


def _bad(values: np.ndarray[Any, Any], field: Field) -> npt.NDArray[np.bool_] | None:
    """Where `values` break the field's promise; None where their dtype cannot."""
    bad: npt.NDArray[np.bool_] | None = None
    if field.classes is not None and values.dtype.kind in "iufb":
        bad = ~((values >= 0) & (values < field.classes))
    # By name, because bfloat16 and its like are no kin of np.floating.
    elif "float" in _name(values.dtype) or "complex" in _name(values.dtype):
        bad = np.isinf(values) if field.missing else ~np.isfinite(values)
    if field.classes is None and field.range is not None and values.dtype.kind in "iuf":
        outside = (values < field.range[0]) | (values > field.range[1])
        bad = outside if bad is None else bad | outside
    return bad


def _stored(dataset: ClientDataset, name: str) -> Iterator[np.ndarray[Any, Any]]:
    rows = _rows_a_chunk(dataset.take(1)[name])
    for start in range(0, len(dataset), rows):
        yield dataset.select(np.arange(start, min(start + rows, len(dataset))))[name]


def _transformed(dataset: ClientDataset, name: str) -> Iterator[np.ndarray[Any, Any]]:
    example = max(dataset.take(1).all().values(), key=lambda values: values.nbytes)
    return (batch[name] for batch in dataset.batches(_rows_a_chunk(example)))


def _rows_a_chunk(example: np.ndarray[Any, Any]) -> int:
    return max(1, CHUNK_BYTES // max(1, example.nbytes))
