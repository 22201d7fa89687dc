"""The columns of one data set as the bytes of a safetensors file. Nothing in them can be executed.

This file must not know where the bytes are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from hansa.errors import DataError

Column = np.ndarray[Any, Any]

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits // 8}") for kind in "UI" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "C64": np.dtype(np.complex64),
}
"""The dtypes that the format has, by its own codes."""


def encode(columns: Mapping[str, Column], *, where: str = "") -> bytes:
    """Columns as bytes.

    Raises:
        DataError: a dtype that the format does not have, such as text.
    """
    stored = {}
    for name, values in columns.items():
        dtype = values.dtype.newbyteorder("=")
        if dtype not in _DTYPES.values():
            raise DataError(
                f"a column of {values.dtype} cannot be kept in a safetensors file",
                where=", ".join(filter(None, (where, f"field {name!r}"))),
                hint="turn text into numbers first, and other numbers into one of "
                + ", ".join(sorted(known.name for known in _DTYPES.values())),
            )
        stored[name] = values.astype(dtype, order="C", copy=False)
    data: bytes = safetensors.numpy.save(stored)
    return data


def decode(data: bytes, *, where: str) -> dict[str, Column]:
    """The columns that `encode` wrote, in the order of their names.

    Raises:
        DataError: the bytes are damaged, or no safetensors file.
    """
    try:
        columns = safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # the library types it by hand, in part
        return {
            name: np.frombuffer(each["data"], _DTYPES[each["dtype"]].newbyteorder("<"))
            .reshape(each["shape"])
            .astype(_DTYPES[each["dtype"]], copy=False)
            for name, each in sorted(columns, key=lambda pair: str(pair[0]))
        }
    except (safetensors.SafetensorError, LookupError, ValueError) as problem:
        raise DataError(
            f"these are no columns of a safetensors file, or they are damaged: {problem}",
            where=where,
            hint="write them again",
        ) from problem
