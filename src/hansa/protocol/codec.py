"""Trees as bytes and files: safetensors, on the wire and on disk alike. Every dtype survives; nothing in it can be executed.

The same tree gives the same bytes, whatever the order of its leaves, and no metadata is written. So the sha256 of a model
file names the model.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from hansa.core.tree import Array, Tree
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
    data: bytes = safetensors.numpy.save(_storable(tree))
    return data


def _storable(tree: Tree) -> Tree:
    """The leaves as the format has them.

    Raises:
        InputError: as `encode`.
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
    return leaves


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


def write(tree: Tree, path: Path) -> None:
    """Write the bytes of `encode` to a new file, each leaf straight from where it lies in memory.

    Raises:
        InputError: as `encode`.
    """
    leaves = _storable(tree)
    header, order = _header(leaves)
    with path.open("xb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name in order:
            leaf = leaves[name]
            stored = leaf.astype(leaf.dtype.newbyteorder("<"), copy=False)
            file.write(stored.reshape(-1).view(np.uint8).data)


def _header(leaves: Tree) -> tuple[bytes, list[str]]:
    """The header of their file, and in which order they follow it: that depends on dtypes and names, and the library says."""
    small: bytes = safetensors.numpy.save({name: np.zeros(1, leaf.dtype) for name, leaf in leaves.items()})
    described = json.loads(small[8 : 8 + int.from_bytes(small[:8], "little")])
    order = sorted(described, key=lambda name: int(described[name]["data_offsets"][0]))
    end = 0
    for name in order:
        begin, end = end, end + leaves[name].nbytes
        described[name] |= {"shape": leaves[name].shape, "data_offsets": [begin, end]}
    text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    return text + b" " * (-len(text) % 8), order


def read(path: Path) -> Tree:
    """The tree in a file; the arrays are read-only views of the file in memory, so nothing is copied before it is used.

    Raises:
        InputError: the file is no safetensors file, or it is damaged.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        view = memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)) if size else memoryview(b"")
    return dict(sorted(_views(view), key=lambda pair: pair[0]))


def _views(data: memoryview) -> Iterator[tuple[str, Array]]:
    """The leaves as views. The format: 8 bytes with the header's length, a JSON header, and the leaves one after the other."""
    damaged = InputError("this is no safetensors file, or it is damaged", hint="fetch or write it again")
    try:
        length = int.from_bytes(data[:8], "little")
        if len(data) < 8 or length > len(data) - 8:
            raise damaged
        leaves = json.loads(bytes(data[8 : 8 + length]))
        leaves.pop(_RESERVED, None)
        content, end = data[8 + length :], 0
        for name, leaf in sorted(leaves.items(), key=lambda pair: pair[1]["data_offsets"][0]):
            begin, end_ = leaf["data_offsets"]
            if begin != end or end_ < begin or end_ > len(content) or leaf["dtype"] not in _DTYPES:
                raise damaged
            end = end_
            dtype = _DTYPES[leaf["dtype"]]
            flat = np.frombuffer(content[begin:end], dtype.newbyteorder("<"))
            yield name, flat.reshape(leaf["shape"]).astype(dtype, copy=False)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as problem:
        raise damaged from problem
    if end != len(content):
        raise damaged


def digest(tree: Tree) -> str:
    """The sha256 of the tree's file, in hexadecimal: what `sha256sum model.safetensors` prints."""
    return hashlib.sha256(encode(tree)).hexdigest()
