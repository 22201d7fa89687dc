"""The conformance kit of aggregation rules: the laws of a commutative monoid, down to the last bit.

This file must not know what a rule computes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hansa.core.ask import AggregationRule
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.errors import AggregationError, TreeMismatch
from hansa.testing.laws import require, snapshot, unlike_bits, unlike_form

EXHAUSTIVE = 5
"""Up to so many updates every order and every way to combine them is tried; of more, a sample."""

SAMPLE = 40
"""How many orders are tried of more updates."""


def check_rule(
    rule: AggregationRule[Any],
    updates: Sequence[Update],
    *,
    like: Tree | None = None,
    misfits: Sequence[Update] = (),
    tolerance: float | None = None,
) -> None:
    """Check that a rule is a commutative monoid over updates.

    Args:
        rule: the rule.
        updates: two or more that go together, of different clients; all orders of up to five are tried.
        like: leaves of the names, shapes and dtypes that `finish` should give; by default the updates' own.
        misfits: updates that the rule must refuse after the first of `updates`.
        tolerance: None asks for the same bits in every order; a number allows that relative difference, for rules that
            say that they are not exact.

    Raises:
        AssertionError: a law is broken; the message says which.
    """
    before = [snapshot(update.tree) for update in updates]
    alike = _comparison(tolerance)
    require(isinstance(rule.grows, bool), "a rule says whether its accumulator grows", f"grows is {rule.grows!r}")

    expected = snapshot(rule.finish(_folded(rule, updates)))
    _unchanged(updates, before, "accumulate and finish never change an update")
    form = snapshot(updates[0].tree) if like is None else like
    found = unlike_form(rule.finish(_folded(rule, updates)), form)
    require(not found, "finish gives the leaves that it should, with their shapes and dtypes", found)

    found = alike(rule.finish(_folded(rule, updates)), expected)
    require(not found, "the same updates in the same order give the same aggregate again", found)
    for side, both in (
        ("left", rule.merge(rule.zero(), _folded(rule, updates))),
        ("right", rule.merge(_folded(rule, updates), rule.zero())),
    ):
        found = alike(rule.finish(both), expected)
        require(not found, f"zero is neutral on the {side}", found)
    for order in _orders(len(updates)):
        found = alike(rule.finish(_folded(rule, [updates[place] for place in order])), expected)
        require(not found, "the order of the updates changes nothing", f"in the order {order}: {found}")
    for merged in _combined(rule, updates):
        _unchanged(updates, before, "merge never changes an update")
        found = alike(rule.finish(merged), expected)
        require(not found, "the split into partial aggregates changes nothing", found)
    _check_misfits(rule, updates, misfits, expected, alike)


Comparison = Callable[[Tree, Tree], str]


def _comparison(tolerance: float | None) -> Comparison:
    def close(found: Tree, expected: Tree) -> str:
        if what := unlike_form(found, expected):
            return what
        for name, leaf in expected.items():
            have, want = found[name].astype(np.complex128), leaf.astype(np.complex128)
            bound = (tolerance or 0.0) * max(1.0, float(abs(want).max(initial=0.0)))
            if not (abs(have - want) <= bound).all():
                return f"leaf {name!r} is not within {bound:g}"
        return ""

    return unlike_bits if tolerance is None else close


def _folded(rule: AggregationRule[Any], updates: Sequence[Update]) -> Any:
    accumulator = rule.zero()
    for update in updates:
        rule.check(accumulator, update)
        accumulator = rule.accumulate(accumulator, update)
    return accumulator


def _orders(count: int) -> Iterator[tuple[int, ...]]:
    if count <= EXHAUSTIVE:
        yield from itertools.permutations(range(count))
        return
    generator = key(0, "orders", count).generator()
    yield tuple(reversed(range(count)))
    for _ in range(SAMPLE):
        yield tuple(generator.permutation(count).tolist())


def _combined(rule: AggregationRule[Any], updates: Sequence[Update]) -> Iterator[Any]:
    """Accumulators of all updates, made in different ways of partial ones."""
    some = list(updates[:EXHAUSTIVE])
    rest = updates[EXHAUSTIVE:]
    for build in _brackets(len(some)):
        yield rule.merge(build(rule, some), _folded(rule, rest)) if rest else build(rule, some)
    for cut in range(1, len(updates)):
        yield rule.merge(_folded(rule, updates[:cut]), _folded(rule, updates[cut:]))
        yield rule.merge(_folded(rule, updates[cut:]), _folded(rule, updates[:cut]))


Build = Callable[[AggregationRule[Any], Sequence[Update]], Any]


def _brackets(count: int) -> Iterator[Build]:
    """Every way to merge `count` accumulators of one update each, two at a time, neighbours with neighbours."""
    if count == 1:
        yield lambda rule, updates: _folded(rule, updates)
        return
    for cut in range(1, count):
        for left, right in itertools.product(_brackets(cut), _brackets(count - cut)):
            yield _joined(left, right, cut)


def _joined(left: Build, right: Build, cut: int) -> Build:
    return lambda rule, updates: rule.merge(left(rule, updates[:cut]), right(rule, updates[cut:]))


def _check_misfits(
    rule: AggregationRule[Any],
    updates: Sequence[Update],
    misfits: Sequence[Update],
    expected: Tree,
    alike: Comparison,
) -> None:
    for misfit in misfits:
        accumulator = _folded(rule, updates)
        for refuse in (rule.check, rule.accumulate):
            try:
                refuse(accumulator, misfit)
            except (TreeMismatch, AggregationError):
                continue
            what = "check" if refuse == rule.check else "accumulate"
            require(False, "an update that does not go with the others is refused", f"{what} took {misfit.tree.keys()}")
        found = alike(rule.finish(accumulator), expected)
        require(not found, "an update that is refused leaves no trace", found)


def _unchanged(updates: Sequence[Update], before: Sequence[Tree], law: str) -> None:
    for update, tree in zip(updates, before, strict=True):
        found = unlike_bits(update.tree, tree)
        require(not found, law, f"client {update.client!r}: {found}")
