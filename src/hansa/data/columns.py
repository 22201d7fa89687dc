"""What may be a field of a data set, and what may be an index into it.

This file must not know what fields mean or how batches are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hansa.errors import DataError

Indices = npt.NDArray[np.int64]

MASK = "mask"
"""The field that padded batches get; no field of a data set may have its name."""


def column(name: str, values: npt.ArrayLike) -> np.ndarray[Any, Any]:
    """`values` as a read-only array with a first axis; not copied.

    Raises:
        DataError: they are not such an array, or `name` is reserved.
    """
    if name == MASK:
        where = f"field {name!r}"
        raise DataError(f"a field cannot be named {MASK!r}", where=where, hint="padded_batches() uses it; rename yours")
    try:
        array = np.asarray(values).view()
    except ValueError as error:
        raise DataError(
            f"not an array: {error}", where=f"field {name!r}", hint="give every example the same shape; pad or cut them"
        ) from error
    if array.ndim == 0:
        raise DataError(
            "a single value, expected one row an example",
            where=f"field {name!r}",
            hint="repeat it for every example, or leave it out",
        )
    if array.dtype.kind == "O":
        raise DataError(
            "an array of Python objects, expected numbers or text",
            where=f"field {name!r}",
            hint="give every example the same shape and type, such as np.float32",
        )
    array.flags.writeable = False
    return array


def common_rows(arrays: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """How many rows every array has.

    Raises:
        DataError: there is no array, or they differ.
    """
    rows = {name: len(values) for name, values in arrays.items()}
    if not rows:
        raise DataError("a data set needs at least one field", hint='such as ClientDataset({"x": ..., "y": ...})')
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise DataError(
            f"every field must have one row an example, but {listed}", hint="give all of them the same first axis"
        )
    return next(iter(rows.values()))


def checked_index(indices: npt.ArrayLike, rows: int) -> Indices:
    """`indices` as a read-only array of the data set's own; int64, shape (n,).

    Raises:
        DataError: they are not whole numbers in [0, rows).
    """
    index = np.asarray(indices)
    if index.size == 0:
        index = index.astype(np.int64)  # an empty list is float64 to NumPy
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise DataError(
            f"indices must be a list of whole numbers; found {index.dtype} of shape {index.shape}",
            hint="from a mask, use np.flatnonzero(mask)",
        )
    outside = (index < 0) | (index >= rows)
    if outside.any():
        raise DataError(
            f"index {int(index[outside.argmax()])} is outside of the {rows} examples",
            hint=f"use 0 to {rows - 1}" if rows else "there are no examples to select from",
        )
    # A copy where it is the caller's own array, which might change.
    owned = index.astype(np.int64)
    owned.flags.writeable = False
    return owned
