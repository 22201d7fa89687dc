"""Trees as files: safetensors, as docs/protocol.md describes it, with numpy alone. A tree is a dict of arrays by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

Tree = dict[str, npt.NDArray[Any]]

DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "C64": "<c8",
}
"""Those that NumPy has; the three others that the format has (BF16, F8_E4M3, F8_E5M2) this owner never trains with."""


class BadTree(Exception):
    """Bytes that are no tree."""


def encode(tree: Tree) -> bytes:
    """A tree as a file."""
    header: dict[str, Any] = {}
    content = b""
    for name, leaf in sorted(tree.items()):
        code = next(code for code, dtype in DTYPES.items() if np.dtype(dtype) == leaf.dtype)
        data = leaf.astype(DTYPES[code]).tobytes()
        header[name] = {"dtype": code, "shape": leaf.shape, "data_offsets": [len(content), len(content) + len(data)]}
        content += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content


def decode(data: bytes) -> Tree:
    """A file as a tree."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise BadTree("it ends within its header")
    content, tree, end = data[8 + length :], {}, 0
    try:
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        for name, leaf in sorted(header.items(), key=lambda pair: pair[1]["data_offsets"]):
            begin, after = leaf["data_offsets"]
            if begin != end:
                raise BadTree(f"there is a gap before {name!r}")
            tree[name] = np.frombuffer(content[begin:after], DTYPES[leaf["dtype"]]).reshape(leaf["shape"])
            end = after
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise BadTree(f"damaged: {problem}") from problem
    if end != len(content):
        raise BadTree("it is shorter or longer than its header says")
    return tree
