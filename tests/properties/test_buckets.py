"""A few padded lengths waste as little as they promise, and none could be left out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.keys import key
from hansa.data.buckets import Buckets, bucketed
from hansa.errors import ConfigError

sizes = st.lists(st.integers(1, 400), min_size=1, max_size=60)
shares = st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.99])


@given(sizes, st.integers(1, 32), shares)
def test_every_size_fits_and_the_waste_is_bounded(sizes: list[int], batch: int, waste: float) -> None:
    buckets = bucketed(sizes, batch, waste=waste)
    assert list(buckets.lengths) == sorted(set(buckets.lengths))
    assert all(length % batch == 0 for length in buckets.lengths)
    assert all(buckets.length(size) in buckets.lengths and buckets.length(size) >= size for size in sizes)
    assert buckets.waste(sizes) <= waste + 1e-12
    whole = [-(-size // batch) * batch for size in sizes]
    assert buckets.waste(sizes) == pytest.approx(1 - sum(whole) / sum(map(buckets.length, sizes)))
    groups = buckets.groups(sizes)
    assert list(groups) == sorted(groups)
    assert sorted(itertools.chain(*groups.values())) == list(range(len(sizes)))
    assert all(buckets.length(sizes[place]) == length for length, places in groups.items() for place in places)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), shares)
def test_fewer_lengths_would_waste_more(sizes: list[int], waste: float) -> None:
    found = bucketed(sizes, waste=waste)
    longest, shorter = max(sizes), sorted(set(sizes) - {max(sizes)})
    for chosen in itertools.combinations(shorter, len(found.lengths) - 2) if len(found.lengths) > 1 else ():
        assert Buckets((*chosen, longest)).waste(sizes) > waste


@given(sizes, st.integers(1, 8))
def test_the_order_of_the_sizes_does_not_matter(sizes: list[int], batch: int) -> None:
    assert bucketed(sizes, batch) == bucketed(sorted(sizes, reverse=True), batch)


def test_many_sizes_take_few_lengths_and_little_time() -> None:
    drawn = np.exp(key(0).generator().normal(5.3, 0.6, 100_000)).clip(20, 50_000).astype(int)
    buckets = bucketed(drawn.tolist(), 1)
    assert len(buckets.lengths) <= 10
    assert buckets.waste(drawn.tolist()) <= 0.2
    near = bucketed(list(range(1, 3_000)), waste=0.0)
    assert near.waste(list(range(1, 3_000))) < 0.01


def test_a_size_beyond_the_longest_has_a_length_of_its_own() -> None:
    assert bucketed([7, 8], 4).length(13) == 16


@pytest.mark.parametrize(
    ("given_", "batch", "waste", "said"),
    [
        ([], 1, 0.2, "at least one example"),
        ([3, 0], 1, 0.2, "at least one example"),
        ([3], 0, 0.2, "batch=0"),
        ([3], 1, 1.0, "waste=1.0"),
    ],
)
def test_what_makes_no_sense(given_: list[int], batch: int, waste: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        bucketed(given_, batch, waste=waste)
