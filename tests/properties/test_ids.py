"""Lazy ids are sequences like any other: whatever a tuple of them says, they say too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.core.ids import Chained, LazyIds, Numbered, Without, union, without
from hansa.core.keys import key
from hansa.core.population import LazySizes, Population
from hansa.core.sampling import UniformSampler

ranges = st.builds(range, st.integers(0, 12), st.integers(0, 40), st.integers(1, 3)) | st.builds(
    range, st.integers(12, 40), st.integers(-1, 11), st.integers(-3, -1)
)
numbered = st.builds(Numbered, ranges)
some = st.frozensets(st.integers(0, 45).map(str), max_size=8)
lazy: st.SearchStrategy[LazyIds] = st.recursive(
    numbered,
    lambda inner: st.one_of(st.builds(Without, inner, some), st.builds(Chained, inner, some.map(sorted))),
    max_leaves=4,
)


@given(lazy, st.slices(50), st.integers(-50, 50))
def test_lazy_ids_are_a_sequence(ids: LazyIds, part: slice, place: int) -> None:
    listed = tuple(iter(ids))
    assert len(ids) == len(listed) == len(set(listed))
    assert ids == listed
    assert listed == ids
    assert list(ids) == [ids[position] for position in range(len(ids))]
    assert tuple(ids[part]) == listed[part]
    assert tuple(reversed(ids)) == listed[::-1]
    if -len(listed) <= place < len(listed):
        assert ids[place] == listed[place]
    else:
        with pytest.raises(IndexError):
            ids[place]
    for number in range(46):
        here = str(number) in listed
        assert (str(number) in ids) == here
        assert ids.count(str(number)) == here
        if here:
            assert ids.index(str(number)) == listed.index(str(number))


@given(lazy, some, some)
def test_what_is_taken_away_and_what_is_in_both(ids: LazyIds, gone: frozenset[str], others: frozenset[str]) -> None:
    left = without(without(ids, gone), others)
    assert left == tuple(each for each in ids if each not in gone and each not in others)
    assert ids.among(others) == tuple(each for each in ids if each in others)
    assert without(tuple(ids), gone) == without(ids, gone)


@given(lazy, lazy)
def test_two_lazy_sequences(first: LazyIds, second: LazyIds) -> None:
    assert first.among(second) == tuple(each for each in first if each in second)
    assert union(first, second) == union(tuple(first), second) == tuple(dict.fromkeys((*first, *second)))
    assert (first == second) == (tuple(first) == tuple(second))


@given(st.integers(1, 300), some, st.integers(1, 20), st.integers(0, 5))
def test_a_lazy_population_is_asked_like_a_listed_one(count: int, busy: frozenset[str], size: int, seed: int) -> None:
    lazy_ids = Numbered(count)
    sizes = LazySizes(lazy_ids, lambda client: int(client) + 1)
    lazily = Population(lazy_ids, {"train": sizes, "test": {"0": 1}})
    listed = Population(tuple(lazy_ids), {"train": dict(sizes), "test": {"0": 1}})
    for split in ("train", "test", "valid"):
        one, other = lazily.without(busy).holding(split), listed.without(busy).holding(split)
        assert one.ids == other.ids
        assert lazily.holding(split).without(busy).ids == other.ids
        if len(other) >= size:
            drawn = UniformSampler(size).sample(one, key(seed))
            assert drawn == UniformSampler(size).sample(other, key(seed))
    assert lazily.held("0") == listed.held("0") == 2
