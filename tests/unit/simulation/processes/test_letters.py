"""Letters and trees come out of memory as they went in, with views where reference mode wants them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.errors import InputError, NotConnected
from hansa.rules import Both, Collect, WeightedMean
from hansa.simulation.processes.layout import fill, laid, views
from hansa.simulation.processes.letters import Letter, Letters
from hansa.simulation.processes.post import INLINE, Parcel, received

DTYPES = st.sampled_from(
    ["f4", ">f8", "i8", "u1", "?", "c16", "U3", "M8[ns]", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2]
)


@st.composite
def trees(draw: Any) -> Tree:
    names = draw(st.lists(st.text(max_size=5), max_size=4, unique=True))
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    return {name: (rng.normal(size=draw(shapes)) * 5).astype(np.int64).astype(draw(DTYPES)) for name in names}


@given(st.lists(trees(), max_size=3))
def test_trees_are_views_of_the_memory_that_they_were_laid_in(given_: list[Tree]) -> None:
    where = laid(given_)
    room = np.zeros(where.size + 64, np.uint8)
    start = -room.ctypes.data % 64
    memory = room.data[start : start + where.size]
    fill(memory, where, given_)
    for tree, found in zip(given_, views(memory, where.places), strict=True):
        assert list(tree) == list(found)
        for name, leaf in tree.items():
            assert (found[name].dtype, found[name].shape) == (leaf.dtype, leaf.shape)
            assert found[name].tobytes() == leaf.tobytes()
            assert not found[name].nbytes or found[name].ctypes.data % 64 == 0


def test_a_form_takes_no_room() -> None:
    form = {"w": np.broadcast_to(np.empty((), np.float32), (1000, 1000))}
    where = laid([form])
    assert where.size == 4
    (found,) = views(memoryview(bytearray(4)), where.places)
    assert (found["w"].shape, found["w"].strides) == ((1000, 1000), (0, 0))


@pytest.mark.parametrize("array", [np.array([object()]), np.zeros(2, [("a", "f4")])])
def test_objects_and_records_are_refused(array: Any) -> None:
    with pytest.raises(InputError, match="cannot be shared with a worker"):
        laid([{"w": array}])


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def through(letter: Letter, ends: tuple[socket.socket, socket.socket]) -> Letter:
    letters = Letters({})
    sealed = Parcel.of(letters.written(letter))
    sealed.send(ends[0])
    sealed.close()
    memory = received(ends[1])
    assert memory is not None
    return letters.read(memory)


@pytest.mark.parametrize("size", [3, INLINE])
def test_a_letter_comes_as_it_was_written(size: int, ends: tuple[socket.socket, socket.socket]) -> None:
    sent = Letter("kind", {"a": [1, None]}, {"rule": Both(WeightedMean(), Collect())}, [{"w": np.arange(size)}])
    found = through(sent, ends)
    assert (found.kind, found.head, found.value) == (sent.kind, sent.head, sent.value)
    assert found.trees[0]["w"].tolist() == list(range(size))
    assert found.trees[0]["w"].ctypes.data % 64 == 0


@pytest.mark.parametrize("exact", [True, False])
def test_a_sum_goes_on_elsewhere(exact: bool, ends: tuple[socket.socket, socket.socket]) -> None:
    rule = WeightedMean(exact=exact)
    updates = [
        Update({"w": np.full(3, value, np.float32), "n": np.array(n)}, 2.0)
        for n, value in enumerate((1e20, 1.0, -1e20, 3))
    ]
    whole = rule.zero()
    for update in updates:
        whole = rule.accumulate(whole, update)
    part = rule.zero()
    for update in updates[:2]:
        part = rule.accumulate(part, update)
    part = through(Letter("partial", value=[part, Metrics({"loss": Mean.of(0.1, 3)})]), ends).value[0]
    assert part.weight == Fraction(4) * (Fraction(1, 2**64) if exact else 1)
    rest = rule.zero()
    for update in updates[2:]:
        rest = rule.accumulate(rest, update)
    merged = rule.finish(rule.merge(_writable(part), rest))
    expected = rule.finish(whole)
    assert merged["n"] == expected["n"] == 3
    assert not exact or merged["w"].tobytes() == expected["w"].tobytes()


def _writable(part: Any) -> Any:
    """As the parent maps what workers send."""
    letters = Letters({})
    written = letters.written(Letter("partial", value=part))
    memory = bytearray(written.size)
    written.put(memoryview(memory))
    return letters.read(memoryview(memory)).value


def test_the_other_side_is_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].close()
    assert received(ends[1]) is None


def test_the_other_side_goes_in_the_middle(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].send(b"123")
    ends[0].close()
    with pytest.raises(NotConnected, match="in the middle of a letter"):
        received(ends[1])
