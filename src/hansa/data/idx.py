"""Reading IDX files, the format of MNIST: a magic number, the lengths of the axes, and the values, big-endian.

This file must not know where the bytes come from.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from hansa.errors import DatasetCorrupt

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def parse_idx(content: bytes, where: str) -> np.ndarray[Any, Any]:
    """The array in an IDX file, read-only and without a copy; values of more than a byte are big-endian.

    Args:
        content: the file's bytes, unpacked.
        where: named in the error.

    Raises:
        DatasetCorrupt: it is no IDX file, or not of the length that it announces.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES or len(content) < 4 + 4 * content[3]:
        raise DatasetCorrupt(
            f"not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}", where=where, hint="get it again"
        )
    dtype, axes = np.dtype(_DTYPES[content[2]]), content[3]
    shape = struct.unpack_from(f">{axes}I", content, 4)
    start = 4 + 4 * axes
    expected = start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(content) != expected:
        raise DatasetCorrupt(
            f"an IDX file of shape {shape} has {expected} bytes, but this one has {len(content)}",
            where=where,
            hint="get it again",
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
