"""A tree's file, written leaf by leaf, is what the library would have written."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.tree import Array, Tree
from hansa.protocol import codec
from hansa.testing.laws import unlike_bits

KINDS = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8")
DTYPES: list[np.dtype[Any]] = [np.dtype(kind) for kind in KINDS]
DTYPES += [np.dtype(kind) for kind in (">f4", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)]
NAMES = st.text(max_size=8).filter(lambda name: name != "__metadata__")


@st.composite
def leaves(draw: st.DrawFn) -> Array:
    dtype, shape = draw(st.sampled_from(DTYPES)), tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    leaf = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    return leaf.T if draw(st.booleans()) else leaf


@settings(max_examples=300)
@given(st.dictionaries(NAMES, leaves(), max_size=6))
def test_a_file_has_the_bytes_of_its_encoding(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree"
        codec.write(tree, path)
        assert path.read_bytes() == codec.encode(tree)
        native = {name: leaf.astype(leaf.dtype.newbyteorder("=")) for name, leaf in tree.items()}
        assert not unlike_bits(codec.read(path), native)
