"""Trees as bytes: a safetensors file, on the wire and on disk alike. Every dtype survives; nothing in it can be executed.

The same tree gives the same bytes, whatever the order of its leaves, and no metadata is written. So the sha256 of a model
file names the model.
"""

from __future__ import annotations

import hashlib
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from hansa.core.tree import Tree
from hansa.errors import InputError

_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
}
"""The dtypes that the format has, by its own codes."""


_RESERVED = "__metadata__"


def encode(tree: Tree) -> bytes:
    """A tree as the bytes of a safetensors file, little-endian.

    Raises:
        InputError: a dtype or a name that the format does not have, such as complex128 or strings.
    """
    leaves = {}
    for name, leaf in sorted(tree.items()):
        if name == _RESERVED:
            raise InputError(
                f"a leaf cannot be called {name!r}: the file format keeps that name for itself", hint="rename it"
            )
        dtype = leaf.dtype.newbyteorder("=")
        if dtype not in _DTYPES.values():
            raise InputError(
                f"leaf {name!r} has dtype {leaf.dtype}, which no model file can hold",
                hint=f"convert it to one of {', '.join(sorted(known.name for known in _DTYPES.values()))}",
            )
        # The library reads memory as it lies, so it must lie in rows; `require` would make a 1-d array of a scalar.
        leaves[name] = leaf.astype(dtype, order="C", copy=False)
    data: bytes = safetensors.numpy.save(leaves)
    return data


def decode(data: bytes) -> Tree:
    """The tree that `encode` wrote, its leaves in the order of their names; the arrays are writable and this machine's own.

    Raises:
        InputError: the bytes are no safetensors file, or it is damaged.
    """
    try:
        leaves = safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # the library types it by hand, in part
    except safetensors.SafetensorError as problem:
        raise InputError(
            f"this is no safetensors file, or it is damaged: {problem}", hint="fetch or write it again"
        ) from problem
    tree = {}
    for name, leaf in sorted(leaves, key=lambda pair: str(pair[0])):
        if leaf["dtype"] not in _DTYPES:
            raise InputError(
                f"leaf {name!r} has dtype {leaf['dtype']}, which is not supported", hint="convert it to another dtype"
            )
        dtype = _DTYPES[leaf["dtype"]]
        try:
            tree[name] = (
                np.frombuffer(bytes(leaf["data"]), dtype.newbyteorder("<")).reshape(leaf["shape"]).astype(dtype)
            )
        except (ValueError, OverflowError) as problem:
            raise InputError(f"leaf {name!r} has a shape that no array can have: {leaf['shape']!r:.80}") from problem
    return tree


def digest(tree: Tree) -> str:
    """The sha256 of the tree's file, in hexadecimal: what `sha256sum model.safetensors` prints."""
    return hashlib.sha256(encode(tree)).hexdigest()
