"""The weighted mean: one value, correctly rounded, for every order of arrival and every split into partial sums."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from hansa.core.tree import Array
from hansa.core.work import Update
from hansa.rules import WeightedMean
from hansa.rules.exact import ExactSum, RoundedSum
from hansa.rules.mean import HEADROOM

FLOATS = [np.dtype(kind) for kind in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
NARROW = FLOATS[:3]
WIDE_RANGE = [1e30, -1e30, 1e12, -1e12, 1e-8]

WEIGHTS = st.one_of(st.integers(0, 10**6).map(float), st.floats(2**-20, 1e9), st.sampled_from([0.1, 1 / 3, 1.0]))
LARGE, SMALL = 1e280, 1e-250
DOUBLES = st.one_of(
    st.floats(-LARGE, LARGE),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, *WIDE_RANGE, 2.0**53, 1.0, 2.0**-53]),
)


def leaf(dtype: np.dtype[Any], size: int) -> st.SearchStrategy[Array]:
    """Finite numbers of a dtype: any bits at all of the narrow ones, so subnormals, both zeros and the largest too."""
    if dtype.itemsize == 8:
        return st.lists(DOUBLES, min_size=size, max_size=size).map(lambda values: np.array(values, np.float64))

    def finite(data: bytes) -> Array:
        values = np.frombuffer(data, dtype).copy()
        with np.errstate(invalid="ignore"):  # a signalling NaN signals
            values[~np.isfinite(values)] = 1
        return values

    return st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize).map(finite)


@st.composite
def cohorts(draw: st.DrawFn, kinds: Sequence[np.dtype[Any]] = FLOATS, least: int = 1) -> list[Update]:
    dtype, size = draw(st.sampled_from(kinds)), draw(st.integers(1, 4))
    weights = draw(st.lists(WEIGHTS, min_size=least, max_size=6).filter(any))
    return [Update({"w": draw(leaf(dtype, size))}, weight, client=str(n)) for n, weight in enumerate(weights)]


def mean(updates: Sequence[Update], rule: WeightedMean = WeightedMean()) -> Array:  # noqa: B008 - a frozen value
    accumulator = rule.zero()
    for update in updates:
        accumulator = rule.accumulate(accumulator, update)
    return rule.finish(accumulator)["w"]


def bits(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()


def of_values(values: Sequence[float], dtype: Any = np.float64, weights: Sequence[float] = ()) -> list[Update]:
    return [
        Update({"w": np.array([value], dtype)}, weight, client=str(n))
        for n, (value, weight) in enumerate(zip(values, weights or [1.0] * len(values), strict=True))
    ]


def merged_at_random(rule: WeightedMean, updates: list[Update], generator: np.random.Generator) -> Any:
    """An accumulator of the updates, split in two again and again at random, some parts empty."""
    if len(updates) <= 1 or generator.random() < 0.2:
        accumulator = rule.zero()
        for update in updates:
            accumulator = rule.accumulate(accumulator, update)
        return accumulator
    cut = int(generator.integers(0, len(updates) + 1)) if generator.random() < 0.2 else len(updates) // 2
    if cut in (0, len(updates)):
        return rule.merge(rule.zero(), merged_at_random(rule, updates[1:] + updates[:1], generator))
    halves = merged_at_random(rule, updates[:cut], generator), merged_at_random(rule, updates[cut:], generator)
    return rule.merge(*halves) if generator.random() < 0.5 else rule.merge(halves[1], halves[0])


@settings(max_examples=300)
@given(cohorts(), st.integers(0, 2**32), st.booleans())
def test_every_order_and_every_split_gives_the_same_bits(updates: list[Update], seed: int, equal: bool) -> None:
    rule, generator = WeightedMean(equal=equal), np.random.default_rng(seed)
    expected = bits(mean(updates, rule))
    for _ in range(3):
        shuffled = [updates[place] for place in generator.permutation(len(updates))]
        assert bits(mean(shuffled, rule)) == expected
        assert bits(rule.finish(merged_at_random(rule, shuffled, generator))["w"]) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
def test_terms_that_span_forty_decimal_digits_give_the_same_bits_in_every_order(dtype: Any) -> None:
    updates = of_values(WIDE_RANGE, dtype)
    expected = Fraction(float(updates[4].tree["w"][0]))  # the others cancel
    for order in itertools.permutations(updates):
        assert mean(order)[0] == np.float64(float(expected) / 5).astype(dtype)


def test_a_sum_that_needs_more_than_two_components_is_still_rounded_once() -> None:
    # 1 + 2^-53 is half way between two floats; what is 2^-160 of it decides. Nothing but the exact sum can see that.
    for sign, expected in ((1.0, 1 + 2.0**-52), (-1.0, 1.0)):
        for order in itertools.permutations([2.0**120, -(2.0**120), 1.0, 2.0**-53, sign * 2.0**-160]):
            total = ExactSum(1)
            for value in order:
                total.add(np.array([value]))
            assert total.total()[0] == expected


@settings(max_examples=300)
@given(cohorts())
@example(of_values(WIDE_RANGE))
@example(of_values([5e-324, -5e-324, 1e280, 0.0, -0.0], weights=[0.5, 1, 1e9, 3, 4]))
def test_the_total_is_the_exact_sum_of_the_terms_rounded_once(updates: list[Update]) -> None:
    size = len(updates[0].tree["w"])
    total = ExactSum(size)
    for update in updates:
        total.add(update.tree["w"], update.weight)
    for place, found in enumerate(total.total()):
        terms = [float(update.tree["w"][place]) * update.weight for update in updates]
        assert found == float(sum(map(Fraction, terms), Fraction(0)))
        assert found == math.fsum(terms)


@settings(max_examples=200)
@given(cohorts(NARROW))
def test_the_mean_of_narrow_floats_is_that_of_fractions_rounded(updates: list[Update]) -> None:
    updates = [Update(update.tree, float(math.ceil(update.weight)), client=update.client) for update in updates]
    weight = sum(Fraction(update.weight) for update in updates)
    found = mean(updates)
    for place, value in enumerate(found):
        total = sum(Fraction(float(update.tree["w"][place])) * Fraction(update.weight) for update in updates)
        assert value == np.float64(float(total) / float(weight)).astype(found.dtype)


@settings(max_examples=150)
@given(cohorts(least=3), st.booleans())
def test_merge_is_associative_and_commutative_and_zero_is_neutral(updates: list[Update], exact: bool) -> None:
    rule = WeightedMean(exact=exact)
    groups = [[replace(update, weight=update.weight + 1) for update in updates[start::3]] for start in range(3)]

    def acc(*numbers: int) -> Any:
        accumulator = rule.zero()
        for number in numbers:
            for update in groups[number]:
                accumulator = rule.accumulate(accumulator, update)
        return accumulator

    def done(accumulator: Any) -> Any:
        return bits(rule.finish(accumulator)["w"])

    assert done(rule.merge(acc(0), acc(1))) == done(rule.merge(acc(1), acc(0)))
    assert done(rule.merge(rule.zero(), acc(0))) == done(rule.merge(acc(0), rule.zero())) == done(acc(0))
    if exact:
        left = done(rule.merge(rule.merge(acc(0), acc(1)), acc(2)))
        assert left == done(rule.merge(acc(0), rule.merge(acc(1), acc(2)))) == done(acc(0, 1, 2))


@settings(max_examples=150)
@given(cohorts(), st.integers(-20, 20))
def test_scaling_all_weights_by_a_power_of_two_changes_no_bit(updates: list[Update], power: int) -> None:
    for update in updates:  # what underflows in one scale and not in the other is another matter
        values = update.tree["w"]
        assume(values.dtype != np.float64 or ((abs(values) > SMALL) | (values == 0)).all())
    scaled = [Update(update.tree, update.weight * 2.0**power) for update in updates]
    assert bits(mean(scaled)) == bits(mean(updates))


def info(dtype: np.dtype[Any]) -> Any:
    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]  # ml_dtypes leaves it untyped


def ulps(found: Array, expected: Array) -> Array:
    """How far apart, in units of the last place of the larger."""
    scale = np.maximum(abs(found), abs(expected)).astype(np.float64)
    kind = info(found.dtype)
    place = np.exp2(np.floor(np.log2(np.maximum(scale, float(kind.smallest_normal))))) * float(kind.eps)
    apart: Array = abs(found.astype(np.float64) - expected.astype(np.float64)) / place
    return apart


@settings(max_examples=150)
@given(cohorts(NARROW), st.floats(1e-6, 1e6))
def test_scaling_all_weights_by_any_factor_changes_an_ulp_at_most(updates: list[Update], factor: float) -> None:
    # Without cancellation: there the rounding of the weights themselves would be magnified.
    updates = [Update({"w": abs(update.tree["w"])}, update.weight) for update in updates]
    scaled = [Update(update.tree, update.weight * factor) for update in updates]
    assert (ulps(mean(scaled), mean(updates)) <= 1).all()


@settings(max_examples=150)
@given(cohorts(), st.floats(1e-6, 1e6))
def test_scaling_all_weights_moves_the_mean_by_the_rounding_of_the_terms_at_most(
    updates: list[Update], factor: float
) -> None:
    scaled = [Update(update.tree, update.weight * factor) for update in updates]
    terms = [abs(update.tree["w"].astype(np.float64)) * update.weight for update in updates]
    size = sum(terms) / sum(update.weight for update in updates)
    found, expected = mean(scaled).astype(np.float64), mean(updates).astype(np.float64)
    kind = info(updates[0].tree["w"].dtype)
    allowed = float(kind.eps) * 4 * size + 2 * float(kind.smallest_subnormal) + lost_below(updates) + lost_below(scaled)
    assert (abs(found - expected) <= allowed).all()


def lost_below(updates: list[Update]) -> float:
    """What underflow can take from a mean: half of float64's least number from each term, and the same where it is rounded."""
    weights = [update.weight * HEADROOM for update in updates]
    return 2.0**-1074 * (len(updates) / sum(weights) + 1)


def test_a_mean_of_the_least_normal_number_is_off_by_the_headroom_at_most() -> None:
    least = np.array([np.finfo(np.float64).smallest_normal])
    for weight in (1.0, 2049.0):
        updates = [Update({"w": least}, weight)]
        assert abs(mean(updates) - least) <= lost_below(updates) == 2.0**-1074 * (2.0**64 / weight + 1)
    assert mean([Update({"w": np.array([2.0**-1000])}, 1.0)]) == 2.0**-1000


@settings(max_examples=150)
@given(st.data(), st.sampled_from(FLOATS), st.lists(WEIGHTS, min_size=1, max_size=8).filter(any))
def test_equal_updates_average_to_themselves(data: st.DataObject, dtype: np.dtype[Any], weights: list[float]) -> None:
    value = data.draw(leaf(dtype, 3))
    found = mean([Update({"w": value.copy()}, weight) for weight in weights])
    if dtype == np.float64:
        normal = (abs(value) > SMALL) | (value == 0)
        # Four roundings: of the terms, of their sum, of the weights' sum and of the quotient.
        assert (abs(found - value)[normal] <= 4 * 2.0**-53 * abs(value)[normal]).all()
    else:
        assert bits(found + np.zeros(3, dtype)) == bits(value + np.zeros(3, dtype))  # but −0 becomes 0


@settings(max_examples=100)
@given(
    st.sampled_from([np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.bool_]),
    st.lists(st.binary(min_size=24, max_size=24), min_size=1, max_size=5),
    st.sampled_from(["max", "min"]),
    st.booleans(),
)
def test_what_is_no_float_is_never_averaged(dtype: Any, data: list[bytes], kind: Any, exact: bool) -> None:
    leaves = [
        np.frombuffer(each, np.uint8).astype(np.bool_) if dtype is np.bool_ else np.frombuffer(each, dtype)
        for each in data
    ]
    found = mean(
        [Update({"w": leaf}, n + 0.5) for n, leaf in enumerate(leaves)], WeightedMean(integers=kind, exact=exact)
    )
    stacked = [[value.item() for value in leaf] for leaf in leaves]
    expected = [(max if kind == "max" else min)(values) for values in zip(*stacked, strict=True)]
    assert found.dtype == dtype
    assert found.tolist() == expected


@settings(max_examples=150)
@given(cohorts())
def test_the_rounded_sum_is_close_to_the_exact_one(updates: list[Update]) -> None:
    size = len(updates[0].tree["w"])
    dtype = updates[0].tree["w"].dtype
    exact, rounded, halves = ExactSum(size), RoundedSum(size, dtype), RoundedSum(size, dtype)
    for update in updates:
        exact.add(update.tree["w"], update.weight)
        rounded.add(update.tree["w"], update.weight)
        part = RoundedSum(size, dtype)
        part.add(update.tree["w"], update.weight)
        halves.merge(part)
    terms = [abs(update.tree["w"].astype(np.float64)) * update.weight for update in updates]
    magnitude = np.sum(terms, axis=0)
    unit = np.finfo(rounded.total().dtype)
    allowed = float(unit.eps) * (len(updates) + 1) * magnitude + float(unit.tiny)
    within = magnitude < float(unit.max) / 4
    for found in (rounded, halves):
        assert (abs(found.total()[within] - exact.total()[within]) <= allowed[within]).all()
