"""Every aggregation rule passes the published kit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.rules import Both, ByPrefix, Collect, WeightedMean
from hansa.rules.exact import BLOCK
from hansa.testing import check_rule

GENERATOR = np.random.default_rng(3)
COUNT = 5


def leaves(client: int) -> Tree:
    """One leaf of every kind, of values far apart."""
    far = 10.0 ** GENERATOR.integers(-12, 12, size=(3, 4))
    return {
        "body.weight": (GENERATOR.standard_normal((3, 4)) * far).astype(np.float32),
        "body.half": GENERATOR.standard_normal(5).astype(np.float16),
        "body.brain": GENERATOR.standard_normal(5).astype(ml_dtypes.bfloat16),
        "body.double": GENERATOR.standard_normal((2, 2)) * 1e100,
        "body.complex": (GENERATOR.standard_normal(3) + 1j * GENERATOR.standard_normal(3)).astype(np.complex64),
        "head.weight": GENERATOR.standard_normal(BLOCK + 1).astype(np.float32),
        "head.scalar": np.array(GENERATOR.standard_normal(), np.float32),
        "head.empty": np.zeros((0, 3), np.float32),
        "head.counter": np.array([client, -client, 7], np.int64),
        "head.mask": GENERATOR.random(4) < 0.5,
    }


UPDATES = [Update(leaves(n), weight, client=f"c{n}") for n, weight in enumerate([1, 0.1, 1e6, 0, 1 / 3])]
NAMES = tuple(UPDATES[0].tree)


def without(name: str) -> Tree:
    return {other: leaf for other, leaf in UPDATES[0].tree.items() if other != name}


OTHER_SHAPE = Update({**without("head.mask"), "head.mask": np.zeros(5, bool)}, client="other")
OTHER_DTYPE = Update({**without("body.half"), "body.half": np.zeros(5, np.float32)}, client="other")
MISSING = Update(without("head.mask"), client="other")
EXTRA = Update({**UPDATES[0].tree, "tail": np.zeros(1)}, client="other")
TWICE = Update(UPDATES[0].tree, client="c0")
MISFITS = [OTHER_SHAPE, OTHER_DTYPE, MISSING, EXTRA]


def each(names: tuple[str, ...] = NAMES) -> Tree:
    return {f"c{n}/{name}": UPDATES[n].tree[name] for n in range(COUNT) for name in names}


def under(prefix: str, tree: Tree) -> Tree:
    return {f"{prefix}/{name}": leaf for name, leaf in tree.items()}


HEAD = tuple(name for name in NAMES if name.startswith("head."))
MEAN = UPDATES[0].tree
BODY = {name: leaf for name, leaf in MEAN.items() if name not in HEAD}

CASES: dict[str, tuple[Any, Tree, list[Update], float | None]] = {
    "mean": (WeightedMean(), MEAN, MISFITS, None),
    "mean, equal": (WeightedMean(equal=True), MEAN, MISFITS, None),
    "mean, minimum": (WeightedMean(integers="min"), MEAN, MISFITS, None),
    "mean, rounded": (WeightedMean(exact=False), MEAN, MISFITS, 2e-3),
    "collect": (Collect(), each(), [TWICE], None),
    "both": (
        Both(WeightedMean(), Collect()),
        {**under("first", MEAN), **under("second", each())},
        [*MISFITS, TWICE],
        None,
    ),
    "by prefix": (
        ByPrefix({"": WeightedMean(), "head.": Collect()}),
        {**BODY, **each(HEAD)},
        [OTHER_DTYPE, EXTRA, TWICE],
        None,
    ),
    "by prefix, nested": (
        ByPrefix({"body.": WeightedMean(equal=True), "head.": Both(WeightedMean(), Collect()), "head.mask": Collect()}),
        {
            **BODY,
            **under("first", {name: MEAN[name] for name in HEAD if name != "head.mask"}),
            **under("second", each(tuple(name for name in HEAD if name != "head.mask"))),
            **each(("head.mask",)),
        },
        [OTHER_DTYPE, EXTRA, TWICE],
        None,
    ),
    "both of both": (
        Both(Both(WeightedMean(), WeightedMean(integers="min")), ByPrefix({"": WeightedMean(equal=True)})),
        {**under("first", {**under("first", MEAN), **under("second", MEAN)}), **under("second", MEAN)},
        MISFITS,
        None,
    ),
}


@pytest.mark.parametrize(("rule", "like", "misfits", "tolerance"), CASES.values(), ids=CASES)
def test_every_rule_is_a_monoid_whose_bits_do_not_depend_on_the_order(
    rule: Any, like: Tree, misfits: list[Update], tolerance: float | None
) -> None:
    check_rule(rule, UPDATES, like=like, misfits=misfits, tolerance=tolerance)


@pytest.mark.parametrize("rule", [WeightedMean(), Both(WeightedMean(), WeightedMean(equal=True))])
def test_more_updates_than_can_be_tried_in_every_order(rule: Any) -> None:
    generator = np.random.default_rng(5)
    updates = [
        Update({"w": (generator.standard_normal(7) * 10.0 ** (n % 9)).astype(np.float32)}, n + 0.5, client=f"c{n}")
        for n in range(12)
    ]
    like = {"w": updates[0].tree["w"]}
    check_rule(
        rule, updates, like=like if rule == WeightedMean() else {**under("first", like), **under("second", like)}
    )


def test_counters_without_an_axis_stay_arrays() -> None:
    updates = [Update({"num_batches_tracked": np.array(n, np.int64)}, 1.0, client=f"c{n}") for n in range(3)]
    check_rule(WeightedMean(), updates)


def test_a_rule_says_whether_its_accumulator_grows() -> None:
    assert not WeightedMean().grows
    assert Collect().grows
    assert Both(WeightedMean(), Collect()).grows
    assert not Both(WeightedMean(), WeightedMean()).grows
    assert ByPrefix({"": WeightedMean(), "head.": Collect()}).grows
    assert not ByPrefix({"": WeightedMean()}).grows
