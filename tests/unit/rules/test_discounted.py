"""The discount of stale updates: the laws of a rule, what it does to an update, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from hansa.core.ask import AggregationRule
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.errors import AggregationError, ConfigError
from hansa.rules import Both, Collect, WeightedMean
from hansa.rules.compose import rounding
from hansa.rules.discounted import Discounted
from hansa.rules.staleness import Constant, Hinge, Polynomial, Staleness
from hansa.simulation.processes.reduction import merges_exactly
from hansa.testing import check_rule


def updates(count: int, seed: int = 0) -> list[Update]:
    generator = key(seed, "updates").generator()
    return [
        Update(
            {
                "w": generator.standard_normal((2, 3)).astype(np.float32),
                "narrow": generator.standard_normal(3).astype(ml_dtypes.bfloat16),
                "variance": generator.random(2),
                "counter": np.array(number, np.int64),
            },
            1.0 + number,
            client=f"c{number}",
            staleness=int(generator.integers(0, 7)),
        )
        for number in range(count)
    ]


def finished(rule: AggregationRule[Any], given: list[Update]) -> Tree:
    accumulator = rule.zero()
    for update in given:
        accumulator = rule.accumulate(accumulator, update)
    return rule.finish(accumulator)


VALUES = frozenset({"variance"})
KINDS: list[Staleness] = [Constant(), Polynomial(0.5), Polynomial(2.0), Hinge(10.0, 4)]


@given(some.integers(0, 2**31), some.integers(2, 5), some.sampled_from(KINDS), some.booleans())
@settings(max_examples=15, deadline=None)
def test_it_is_a_commutative_monoid(seed: int, count: int, staleness: Staleness, equal: bool) -> None:
    rule = Discounted(WeightedMean(equal=equal), staleness, most=6, values=VALUES)
    good = updates(count, seed)
    stale = replace(good[0], client="late", staleness=7)
    check_rule(rule, good, misfits=[stale, Update({"w": np.zeros(2, np.float32)}, client="other")])


def test_it_goes_around_rules_that_grow_and_into_rules_of_rules() -> None:
    good = updates(4)
    check_rule(Both(Discounted(), Collect()), good, like=finished(Both(Discounted(), Collect()), good))
    assert Discounted(Collect()).grows
    assert not Discounted().grows
    assert (
        finished(Discounted(Collect()), [replace(good[0], staleness=3)])["c0/w"].tolist()
        == (good[0].tree["w"] * np.float32(0.5)).tolist()
    )


def test_the_discount_is_on_the_update_and_the_divisor_is_the_number_of_updates() -> None:
    values = [Update({"w": np.array([8.0])}, 100.0, staleness=stale) for stale in (0, 3, 15)]
    assert finished(Discounted(), values)["w"] == (8 + 4 + 2) / 3
    assert finished(Discounted(WeightedMean()), values)["w"] == (8 + 4 + 2) / 3
    heavier = [replace(values[0], weight=300.0), *values[1:]]
    assert finished(Discounted(WeightedMean()), heavier)["w"] == (3 * 8 + 4 + 2) / 5


@given(some.integers(0, 2**31), some.sampled_from(KINDS))
@settings(max_examples=20, deadline=None)
def test_fresh_updates_count_as_they_are_bit_for_bit(seed: int, staleness: Staleness) -> None:
    fresh = [replace(update, staleness=0) for update in updates(4, seed)]
    discounted, plain = finished(Discounted(WeightedMean(), staleness), fresh), finished(WeightedMean(), fresh)
    assert all(discounted[name].tobytes() == leaf.tobytes() for name, leaf in plain.items())


def test_values_and_facts_pass_in_full_and_types_stay() -> None:
    stale = [replace(update, staleness=8) for update in updates(3)]
    found, plain = finished(Discounted(values=VALUES), stale), finished(WeightedMean(equal=True), stale)
    assert found["variance"].tobytes() == plain["variance"].tobytes()
    assert found["counter"] == 2
    assert np.allclose(found["w"], plain["w"] / 3, rtol=1e-6)
    assert {name: leaf.dtype for name, leaf in found.items()} == {name: leaf.dtype for name, leaf in plain.items()}


def test_a_staler_update_than_allowed_is_refused_with_the_reason() -> None:
    rule = Discounted(most=2)
    said = "its update is 3 model updates behind, and at most 2 are allowed"
    with pytest.raises(AggregationError) as refused:
        rule.check(rule.zero(), Update({"w": np.zeros(2)}, staleness=3))
    assert refused.value.what == said
    rule.check(rule.zero(), Update({"w": np.zeros(2)}, staleness=2))


def test_a_fast_simulation_rounds_inside_it() -> None:
    quick = rounding(Both(Discounted(WeightedMean(), most=3), Collect()))
    assert quick == Both(Discounted(WeightedMean(exact=False), most=3), Collect())
    assert merges_exactly(Discounted())
    assert not merges_exactly(rounding(Discounted()))
    good = updates(3)
    for name, leaf in finished(Discounted(), good).items():
        assert np.allclose(finished(rounding(Discounted()), good)[name], leaf, rtol=1e-2)


@given(some.sampled_from([*KINDS, Hinge(0.0, 0), Polynomial(0.0)]), some.integers(0, 1000))
def test_a_fresh_update_counts_in_full_and_an_older_one_never_more_than_a_younger(s: Staleness, stale: int) -> None:
    assert s(0) == 1.0
    assert 0 < s(stale + 1) <= s(stale) <= 1


def test_the_papers_own_numbers() -> None:
    assert [Polynomial(0.5)(stale) for stale in (0, 3, 8)] == [1, 1 / 2, 1 / 3]
    assert [Hinge(10, 4)(stale) for stale in (4, 5, 8)] == [1, 1 / 11, 1 / 41]
    assert Constant()(99) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Polynomial(-0.5), "the exponent a of Polynomial is at least 0, not -0.5"),
        (lambda: Polynomial(float("nan")), "the exponent a of Polynomial is at least 0, not nan"),
        (lambda: Hinge(-1.0, 2), "the slope a of Hinge is at least 0, not -1.0"),
        (lambda: Hinge(1.0, -2), "the b of Hinge, up to which an update counts in full, is at least 0, not -2"),
        (lambda: Discounted(most=-1), "the largest staleness is at least 0, not -1"),
    ],
)
def test_settings_that_make_no_sense(wrong: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        wrong()
    assert error.value.what == said
