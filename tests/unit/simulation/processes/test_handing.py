"""Visits are handed out in chunks that shrink, each to somebody, and come back when they must be computed again."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hansa.simulation.processes.handing import Errand, Handing


def errands(costs: list[float]) -> list[Errand]:
    visit: Any = None
    return [Errand(number, visit, cost) for number, cost in enumerate(costs)]


@given(st.lists(st.floats(1, 1000), max_size=60), st.integers(1, 8), st.integers(1, 20))
def test_everybody_is_handed_out_once_in_order(costs: list[float], workers: int, largest: int) -> None:
    handing, handed = Handing(errands(costs), workers, largest), list[int]()
    while chunk := handing.next():
        assert len(chunk) <= largest
        handed += [errand.position for errand in chunk]
    assert handed == list(range(len(costs)))
    assert len(handing) == 0


def test_chunks_shrink_toward_the_end() -> None:
    handing, sizes = Handing(errands([1.0] * 100), 2), list[int]()
    while chunk := handing.next():
        sizes.append(len(chunk))
    assert sizes[0] == 25
    assert sizes[-1] == 1
    assert sizes == sorted(sizes, reverse=True)


def test_a_client_with_many_examples_is_a_chunk_of_its_own() -> None:
    handing = Handing(errands([1000.0, *[1.0] * 20]), 2)
    assert [errand.position for errand in handing.next()] == [0]
    assert len(handing.next()) == 20  # all that is left is little beside it, and goes in one letter


def test_what_comes_back_goes_out_next() -> None:
    all_ = errands([1.0] * 8)
    handing = Handing(all_, 1, 4)
    first = handing.next()
    handing.put_back(first[1:])
    assert handing.next()[0] is all_[1]


def test_who_may_have_killed_a_worker_is_computed_alone_and_first() -> None:
    all_ = errands([1.0] * 8)
    handing = Handing(all_, 1, 4)
    first = handing.next()
    handing.put_back(first[:2], alone=True)
    assert [handing.next(), handing.next()] == [[all_[0]], [all_[1]]]
    assert len(handing) == 4
