"""The laws of trees: joining and parting, differences, alignment, and what is not finite."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core import tree
from hansa.core.tree import ALIGNMENT, Array, Tree
from hansa.errors import TreeMismatch, UnknownName
from hansa.testing.laws import unlike_bits

Types = list[np.dtype[Any]]

FLOATS: Types = [
    np.dtype(kind)
    for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
]
COMPLEX: Types = [np.dtype(np.complex64), np.dtype(np.complex128)]
WHOLE: Types = [np.dtype(kind) for kind in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]
EVERY: Types = [*FLOATS, *COMPLEX, *WHOLE]

NAMES = st.text(alphabet="ab/%25Fé. ", max_size=6)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


def filled(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int = 0) -> Array:
    values = np.random.default_rng(seed).integers(0, 2, size=shape) * 1.5 + 1
    return np.asarray(values).astype(dtype)


def trees(dtypes: Types = EVERY, **sizes: Any) -> st.SearchStrategy[Tree]:
    leaves = st.builds(filled, st.sampled_from(dtypes), SHAPES, st.integers(0, 99))
    return st.dictionaries(NAMES, leaves, **sizes)


# --- join, part, parts


@settings(max_examples=200)
@given(st.dictionaries(NAMES, trees([np.dtype("f4"), np.dtype("i8")], min_size=1, max_size=3), max_size=4))
def test_parts_is_the_inverse_of_join_whatever_the_names(given_parts: dict[str, Tree]) -> None:
    joined = tree.join(given_parts)
    assert len(joined) == sum(map(len, given_parts.values()))
    found = tree.parts(joined)
    assert list(found) == list(given_parts)
    for name, expected in given_parts.items():
        assert not unlike_bits(found[name], expected)
        assert not unlike_bits(tree.part(joined, name), expected)


@settings(max_examples=100)
@given(trees(min_size=1, max_size=3), NAMES, NAMES)
def test_joined_trees_may_be_joined_again(inner: Tree, one: str, other: str) -> None:
    assert not unlike_bits(tree.part(tree.part(tree.join({one: tree.join({other: inner})}), one), other), inner)


def test_a_part_whose_name_begins_like_another_s_is_not_mixed_up_with_it() -> None:
    joined = tree.join({"a": {"b/c": np.zeros(1)}, "a/b": {"c": np.ones(1)}, "a%2Fb": {"c": np.full(1, 2.0)}})
    assert list(tree.part(joined, "a")) == ["b/c"]
    assert tree.part(joined, "a/b")["c"] == 1
    assert tree.part(joined, "a%2Fb")["c"] == 2


def test_a_part_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UnknownName, match="no part 'alcie'") as caught:
        tree.part(tree.join({"alice": {"w": np.zeros(1)}}), "alcie")
    assert "alice" in caught.value.hint


# --- difference, moved


@settings(max_examples=200)
@given(
    st.sampled_from([np.float16, np.float32, np.float64, ml_dtypes.bfloat16]), st.integers(1, 20), st.integers(0, 999)
)
def test_moving_by_a_difference_gives_the_new_tree_within_rounding(dtype: Any, size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    new, old = (
        {"w": (generator.standard_normal(size) * 10.0 ** generator.integers(-3, 3, size)).astype(dtype)} for _ in "no"
    )
    found = tree.moved(old, tree.difference(new, old))["w"]
    assert found.dtype == dtype
    change = abs(new["w"].astype(float) - old["w"].astype(float))
    eps = float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]  # ml_dtypes leaves it untyped
    bound = eps * (change + abs(new["w"].astype(float)))
    assert (abs(found.astype(float) - new["w"].astype(float)) <= bound).all()


@settings(max_examples=100)
@given(st.sampled_from(WHOLE), SHAPES, st.integers(0, 99), st.integers(0, 99))
def test_what_is_no_float_replaces_what_was_there_exactly(
    dtype: np.dtype[Any], shape: tuple[int, ...], one: int, other: int
) -> None:
    new, old = {"w": filled(dtype, shape, one)}, {"w": filled(dtype, shape, other)}
    assert not unlike_bits(tree.moved(old, tree.difference(new, old)), new)
    assert not unlike_bits(tree.difference(new, old), new)


@pytest.mark.parametrize("dtype", FLOATS[:4])
def test_no_difference_moves_nothing(dtype: np.dtype[Any]) -> None:
    old = {"w": np.array([1.5, -2, 0, 3], dtype)}
    assert not unlike_bits(tree.moved(old, tree.difference(old, old)), old)


@pytest.mark.parametrize(
    "operation", [tree.add, tree.subtract, tree.difference, tree.moved, lambda a, _: tree.scale(a, 0.5)]
)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_a_leaf_without_an_axis_stays_an_array_of_its_dtype(operation: Any, dtype: Any) -> None:
    found = operation({"w": np.array(1.5, dtype)}, {"w": np.array(2.0, dtype)})["w"]
    assert isinstance(found, np.ndarray)
    assert found.dtype == dtype


# --- apply and its kin


def test_trees_of_other_names_do_not_go_together() -> None:
    a, b = {"w": np.zeros(1), "u": np.zeros(1)}, {"w": np.zeros(1), "v": np.zeros(1)}
    for operation in (tree.add, tree.subtract, tree.difference, tree.moved):
        with pytest.raises(TreeMismatch, match="u, v"):
            operation(a, b)


@settings(max_examples=100)
@given(trees(max_size=3))
def test_a_tree_is_like_itself(a: Tree) -> None:
    tree.check_alike(a, {name: leaf.copy() for name, leaf in a.items()})


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, r"missing \['w'\], unexpected none"),
        ({"w": np.zeros(2, np.float32), "x": np.zeros(1)}, r"missing none, unexpected \['x'\]"),
        ({"w": np.zeros(3, np.float32)}, r"leaf 'w' has shape \(3,\), expected \(2,\)"),
        ({"w": np.zeros((1, 2), np.float32)}, r"leaf 'w' has shape \(1, 2\), expected \(2,\)"),
        ({"w": np.zeros(2, np.float64)}, "leaf 'w' has dtype float64, expected float32"),
        ({"w": np.zeros(2, ml_dtypes.bfloat16)}, "leaf 'w' has dtype bfloat16, expected float32"),
    ],
)
def test_trees_that_are_not_alike_are_told_apart_by_what_differs(found: Tree, message: str) -> None:
    with pytest.raises(TreeMismatch, match=message) as caught:
        tree.check_alike(found, {"w": np.zeros(2, np.float32)}, where="client 'a'", hint="send the same")
    assert "client 'a'" in str(caught.value)
    assert "send the same" in str(caught.value)


@pytest.mark.parametrize("dtype", FLOATS[:4])
def test_scaling_keeps_the_dtype(dtype: np.dtype[Any]) -> None:
    found = tree.scale({"w": np.array([1, -2, 4], dtype)}, 0.5)["w"]
    assert found.dtype == dtype
    assert found.astype(float).tolist() == [0.5, -1, 2]


@settings(max_examples=100)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.sampled_from([np.float32, np.float64, np.float16]))
def test_the_norm_is_taken_over_all_floating_leaves_in_float64(values: list[float], dtype: Any) -> None:
    array = np.clip(np.array(values), -6e4, 6e4).astype(dtype)
    a = {"one": array, "two": array[::-1], "counter": np.array([10**9])}
    wide = array.astype(np.float64)
    assert tree.norm(a) == pytest.approx(math.sqrt(2 * math.fsum(wide * wide)), rel=1e-12)
    assert tree.dot(a, a) == pytest.approx(2 * math.fsum(wide * wide), rel=1e-12)


def test_zeros_are_zero_even_where_there_was_a_nan() -> None:
    found = tree.zeros_like({"w": np.array([np.nan, np.inf, 1], np.float32), "n": np.array(3)})
    assert not unlike_bits(found, {"w": np.zeros(3, np.float32), "n": np.array(0)})


# --- kinds of leaves


@pytest.mark.parametrize("dtype", EVERY, ids=str)
def test_every_float_and_complex_type_is_a_quantity_and_nothing_else_is(dtype: np.dtype[Any]) -> None:
    assert tree.is_floating(np.zeros(2, dtype)) == (dtype in FLOATS + COMPLEX)


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_and_named(dtype: np.dtype[Any], bad: float) -> None:
    if dtype == ml_dtypes.float8_e4m3fn and not np.isnan(bad):
        pytest.skip("this dtype has no infinity")
    good = {"a": np.zeros(3, dtype), "n": np.array([2**62])}
    assert tree.not_finite(good) is None
    worse = np.zeros((2, 3), dtype)
    worse[1, 2] = bad
    assert tree.not_finite({**good, "b": worse, "c": worse}) == "b"


def test_looking_for_what_is_not_finite_raises_no_warning() -> None:
    signalling = np.array([0x7F81], np.uint16).view(ml_dtypes.bfloat16)
    assert tree.not_finite({"w": signalling}) == "w"


# --- alignment


@settings(max_examples=200)
@given(st.sampled_from(EVERY), SHAPES, st.integers(0, 63), st.sampled_from("=<>"))
def test_an_aligned_copy_is_aligned_and_a_copy(
    dtype: np.dtype[Any], shape: tuple[int, ...], shift: int, order: str
) -> None:
    source = filled(dtype, shape)
    if order != "=" and dtype.name in ("int32", "float32", "float64", "complex64"):
        source = source.astype(dtype.newbyteorder(order))  # type: ignore[arg-type]  # a literal to mypy
    room = bytearray(source.nbytes + 64)
    room[shift : shift + source.nbytes] = source.tobytes()
    moved = np.frombuffer(room, np.uint8)[shift : shift + source.nbytes].view(source.dtype).reshape(shape)
    copy = tree.aligned({"w": moved})["w"]
    assert copy.ctypes.data % ALIGNMENT == 0 or not copy.size  # nothing lies nowhere
    assert copy.flags.c_contiguous
    assert copy.flags.writeable
    assert copy.dtype.isnative
    assert (copy.dtype, copy.shape) == (dtype, shape)
    assert np.array_equal(copy, moved)
    assert not np.shares_memory(copy, moved)


def test_strided_leaves_are_aligned_in_their_own_order() -> None:
    array = np.arange(24, dtype=np.int16).reshape(4, 6)
    for view in (array.T, array[::2, ::-1], np.asfortranarray(array)):
        copy = tree.aligned_copy(view)
        assert np.array_equal(copy, view)
        assert copy.flags.c_contiguous
