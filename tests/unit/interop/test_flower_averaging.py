"""The rule of averaging strategies: Hansa's kit, and the same as its composition of two rules says."""

from __future__ import annotations

import numpy as np
import pytest

from hansa.core.work import Update
from hansa.errors import AggregationError, TreeMismatch
from hansa.interop.flower.averaging import Averaged, parted
from hansa.interop.flower.works import ARRAY, REPORT
from hansa.rules import ByPrefix, Collect, WeightedMean

UPDATES = [
    Update({f"{ARRAY}0": np.full(3, n, np.float32), REPORT: np.full(n, n, np.uint8)}, float(n), client=f"c/{n}")
    for n in range(1, 5)
]


def test_it_gives_what_the_two_rules_give_in_any_order_and_however_divided() -> None:
    rule, both = Averaged(), ByPrefix({ARRAY: WeightedMean(), REPORT: Collect()})
    total, expected = rule.zero(), both.zero()
    for update in UPDATES:
        expected = both.accumulate(expected, update)
    halves = [rule.zero(), rule.zero()]
    for number, update in enumerate(reversed(UPDATES)):
        total = rule.accumulate(total, update)
        halves[number % 2] = rule.accumulate(halves[number % 2], update)
    merged = rule.merge(rule.merge(halves[1], rule.zero()), halves[0])
    want = both.finish(expected)
    for found in (rule.finish(total), rule.finish(merged)):
        assert np.array_equal(parted(found)[0][f"{ARRAY}0"], want[f"{ARRAY}0"])
        assert {client: leaf.tolist() for client, leaf in parted(found)[1].items()} == {
            f"c/{n}": [n] * n for n in range(1, 5)
        }


def test_it_refuses_a_second_update_of_a_client_and_arrays_of_another_shape_before_anything_changes() -> None:
    rule = Averaged()
    total = rule.accumulate(rule.zero(), UPDATES[0])
    for refused in (rule.check, rule.accumulate):
        with pytest.raises(AggregationError, match="a second update of client 'c/1' in one round"):
            refused(total, UPDATES[0])
        with pytest.raises(TreeMismatch, match=r"leaf 'array:0' has shape \(2,\), expected \(3,\)"):
            refused(total, Update({f"{ARRAY}0": np.zeros(2, np.float32), REPORT: np.zeros(1, np.uint8)}, client="x"))
    with pytest.raises(AggregationError, match="a second update"):
        rule.merge(total, rule.accumulate(rule.zero(), UPDATES[0]))
    assert rule.finish(total)[f"{ARRAY}0"].tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(AggregationError, match="there is no update to average"):
        rule.finish(rule.zero())
