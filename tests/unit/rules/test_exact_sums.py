"""Exact sums, block by block: every size and layout, and what happens at the ends of float64's range."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from hansa.core.tree import Array
from hansa.core.work import Update
from hansa.errors import AggregationError
from hansa.rules import WeightedMean
from hansa.rules.exact import BLOCK, ExactSum


def mean(updates: Sequence[Update], *, exact: bool = True) -> Array:
    rule = WeightedMean(exact=exact)
    accumulator = rule.zero()
    for update in updates:
        accumulator = rule.accumulate(accumulator, update)
    return rule.finish(accumulator)["w"]


def of_values(values: Sequence[float], weights: Sequence[float] = ()) -> list[Update]:
    pairs = zip(values, weights or [1.0] * len(values), strict=True)
    return [Update({"w": np.array([value])}, weight) for value, weight in pairs]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "shape", [(), (0,), (3, 0), (1,), (BLOCK - 1,), (BLOCK,), (BLOCK + 1,), (2, BLOCK), (3, BLOCK - 5)]
)
def test_leaves_of_any_size_are_averaged_in_every_place(shape: tuple[int, ...], exact: bool) -> None:
    generator = np.random.default_rng(0)
    leaves = [generator.integers(-(2**20), 2**20, size=shape).astype(np.float32) for _ in range(3)]
    updates = [Update({"w": np.asarray(leaf)}, weight) for leaf, weight in zip(leaves, (1.0, 2.0, 5.0), strict=True)]
    found = mean(updates, exact=exact)
    expected = ((leaves[0].astype(np.float64) + 2.0 * leaves[1] + 5.0 * leaves[2]) / 8).astype(np.float32)
    assert isinstance(found, np.ndarray)
    assert found.shape == shape
    assert np.array_equal(found, expected)  # whole numbers: float64 adds them exactly
    assert mean(updates[::-1], exact=exact).tobytes() == found.tobytes()


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_blocks_keep_their_own_components(size: int) -> None:
    values = np.random.default_rng(1).standard_normal((6, size)) * 10.0 ** np.arange(-60, 60, 20)[:, None]
    values[:, : size // 2] = np.round(values[:, : size // 2])  # one half needs few components, the other many
    forward, backward, halves = ExactSum(size), ExactSum(size), ExactSum(size)
    for row in values:
        forward.add(row, 3.0)
    for row in values[::-1]:
        backward.add(row, 3.0)
    for rows in (values[:2], values[2:]):
        part = ExactSum(size)
        for row in rows:
            part.add(row, 3.0)
        halves.merge(part)
    for other in (backward, halves):
        assert forward.total().tobytes() == other.total().tobytes()
    for place in (0, size // 2, BLOCK - 2, size - 1):
        assert forward.total()[place] == math.fsum(values[:, place] * 3.0)


def test_columns_and_strided_arrays_are_read_in_their_own_order() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    for view in (array.T, array[::-1], array[:, ::2], np.asfortranarray(array)):
        assert np.array_equal(mean([Update({"w": view}, 1.0), Update({"w": view * 3}, 1.0)]), view * 2)


def test_complex_leaves_are_averaged_in_both_parts() -> None:
    updates = [Update({"w": np.array(value, np.complex64)}, weight) for value, weight in (([1 + 2j], 1), ([4 - 1j], 2))]
    assert mean(updates).dtype == np.complex64
    assert mean(updates).tolist() == [3 + 0j]


def test_a_mean_is_found_where_the_sum_is_beyond_float64() -> None:
    assert mean(of_values([1.7e308, 1.7e308])) == 1.7e308
    assert mean(of_values([0.1, 0.1], weights=[1e308, 1e308])) == 0.1


def test_the_order_changes_nothing_where_partial_sums_are_beyond_float64() -> None:
    found = {mean(order).tobytes() for order in itertools.permutations(of_values([1.7e308, 1.7e308, -1.7e308, 1.0]))}
    assert len(found) == 1


def test_a_sum_that_leaves_float64_all_the_same_says_so_instead_of_giving_infinity() -> None:
    total = ExactSum(1)
    total.add(np.array([1.7e308]))
    with pytest.raises(AggregationError, match="leaves the range of float64") as caught:
        total.add(np.array([1.7e308]))
    assert "clip the updates" in str(caught.value)


def test_an_aggregate_is_not_the_client_s_own_memory() -> None:
    update = Update({"w": np.array([1, 2])}, 1.0)
    mean([update])[0] = 9
    assert update.tree["w"].tolist() == [1, 2]
