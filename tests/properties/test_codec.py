"""Trees as bytes: every dtype survives, the same tree has the same bytes, and damage is an InputError or nothing."""

from __future__ import annotations

import hashlib
import json
import math
import random
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.tree import Array, Tree
from hansa.errors import InputError
from hansa.protocol import codec
from hansa.testing.laws import unlike_bits

KINDS = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8")
DTYPES: list[np.dtype[Any]] = [np.dtype(kind) for kind in KINDS]
DTYPES += [np.dtype(kind) for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)]
NAMES = st.text(max_size=8).filter(lambda name: name != "__metadata__")


@st.composite
def leaves(draw: st.DrawFn) -> Array:
    """Any bits at all, NaN's payloads included."""
    dtype, shape = draw(st.sampled_from(DTYPES)), tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    size = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype == np.bool_:
        return (np.frombuffer(data, np.uint8) % 2).astype(np.bool_).reshape(shape)
    return np.frombuffer(data, dtype).reshape(shape)


TREES = st.dictionaries(NAMES, leaves(), max_size=4)


@settings(max_examples=200)
@given(TREES)
def test_a_tree_comes_back_bit_for_bit_and_writable(tree: Tree) -> None:
    back = codec.decode(codec.encode(tree))
    assert not unlike_bits(back, tree)
    assert list(back) == sorted(tree)
    assert all(leaf.flags.writeable and leaf.dtype.isnative for leaf in back.values())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (1, 0, 2)])
def test_every_dtype_survives_in_every_shape(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    tree = {"w": np.ones(shape, dtype)}
    assert not unlike_bits(codec.decode(codec.encode(tree)), tree)


@settings(max_examples=100)
@given(TREES, st.randoms(use_true_random=False))
def test_the_order_of_leaves_is_not_in_the_bytes(tree: Tree, shuffle: random.Random) -> None:
    names = list(tree)
    shuffle.shuffle(names)
    assert codec.encode({name: tree[name] for name in names}) == codec.encode(tree)


@settings(max_examples=50)
@given(TREES)
def test_the_digest_is_that_of_the_file(tree: Tree) -> None:
    assert codec.digest(tree) == hashlib.sha256(codec.encode(tree)).hexdigest()


def test_other_names_dtypes_shapes_and_values_have_other_digests() -> None:
    trees: list[Tree] = [
        {},
        {"a": np.zeros(4, np.float32)},
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros(4, np.int32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.zeros((4, 1), np.float32)},
        {"a": np.array([0, 0, 0, -0.0], np.float32)},
        {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)},
    ]
    assert len({codec.digest(tree) for tree in trees}) == len(trees)


def test_the_format_does_not_change_by_itself() -> None:
    tree: Tree = {
        "b": np.arange(3, dtype=np.int64),
        "a": np.array([[1.5, -2]], np.float32),
        "c": np.array(2, ml_dtypes.bfloat16),
    }
    assert codec.digest(tree) == "8e1e463792b1687316751024d4e35f8995bf7e84642cc254dcda96a968bc9b43"


def test_memory_may_lie_as_it_likes() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (
        array.T,
        array[::2, ::-1],
        np.asfortranarray(array),
        array.astype(">f4"),
        np.broadcast_to(array[0], (3, 6)),
    ):
        expected = np.ascontiguousarray(view).astype(np.float32)
        assert codec.encode({"w": view}) == codec.encode({"w": expected})
        assert np.array_equal(codec.decode(codec.encode({"w": view}))["w"], view)


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    tree: Tree = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3, np.int64)}
    (tmp_path / "model.safetensors").write_bytes(codec.encode(tree))
    assert not unlike_bits(safetensors.numpy.load_file(tmp_path / "model.safetensors"), tree)


@pytest.mark.parametrize(
    "leaf", [np.zeros(2, np.complex128), np.array(["a"]), np.array([None]), np.zeros(2, "datetime64[s]")]
)
def test_what_no_file_can_hold_is_named(leaf: Array) -> None:
    with pytest.raises(InputError, match="leaf 'bad' has dtype") as caught:
        codec.encode({"good": np.zeros(1), "bad": leaf})
    assert "float32" in caught.value.hint


def test_a_name_that_the_format_keeps_for_itself_is_refused() -> None:
    with pytest.raises(InputError, match="__metadata__"):
        codec.encode({"__metadata__": np.zeros(1)})


# --- damage


def is_harmless(data: bytes) -> bool:
    """Whether damaged bytes decode to a tree, or to an InputError that says what to do."""
    try:
        tree = codec.decode(data)
    except InputError as error:
        return bool(error.hint)
    return all(type(leaf) is np.ndarray for leaf in tree.values())


SAMPLE: Tree = {
    "conv.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "flags": np.array([True, False]),
    "half": np.array(1.5, ml_dtypes.bfloat16),
    "steps": np.array(7, np.int64),
}


def test_a_file_cut_anywhere_is_damaged() -> None:
    data = codec.encode(SAMPLE)
    for length in range(len(data)):
        with pytest.raises(InputError, match="damaged"):
            codec.decode(data[:length])
    with pytest.raises(InputError, match="damaged"):
        codec.decode(data + b"\0")


def test_any_byte_may_be_any_other() -> None:
    data = codec.encode(SAMPLE)
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for place in range(header + 2):
        for value in {0, 0xFF, 0x7F, ord("9"), ord("0"), ord('"'), ord("-"), data[place] ^ 1, data[place] ^ 0x80}:
            assert is_harmless(data[:place] + bytes([value]) + data[place + 1 :])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_several_bytes_may_be_any_others(flips: list[tuple[int, int]]) -> None:
    data = bytearray(codec.encode(SAMPLE))
    for place, value in flips:
        data[place % len(data)] = value
    assert is_harmless(bytes(data))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_harmless(data: bytes) -> None:
    assert is_harmless(data)
    assert is_harmless(struct.pack("<Q", len(data)) + data)


def crafted(header: Any, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "header",
    [
        [],
        "x",
        {"w": {}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**64]}},
        {"w": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}},
        {"w": {"dtype": "I64", "shape": [1.5], "data_offsets": [0, 4]}},
        {"__metadata__": {"a": 1}},
        {"__metadata__": []},
    ],
)
def test_headers_that_lie_are_input_errors(header: Any) -> None:
    with pytest.raises(InputError):
        codec.decode(crafted(header, b"\0" * 4))


@pytest.mark.parametrize("shape", [[0, 2**63 - 1], [0, 2**64 - 1], [1] * 65, [0, 2**62, 4]])
def test_shapes_that_numpy_cannot_have_are_input_errors(shape: list[int]) -> None:
    size = 4 * math.prod(shape)
    with pytest.raises(InputError):
        codec.decode(crafted({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}, b"\0" * size))


def test_metadata_of_others_is_passed_over() -> None:
    data = safetensors.numpy.save({"w": np.ones(2, np.float32)}, metadata={"format": "pt"})
    assert not unlike_bits(codec.decode(data), {"w": np.ones(2, np.float32)})
