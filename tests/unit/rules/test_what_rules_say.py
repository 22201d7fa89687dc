"""What rules give, and what they say of updates that do not go together."""

from __future__ import annotations

import numpy as np
import pytest

from hansa.core.tree import Tree, part
from hansa.core.work import Update
from hansa.errors import AggregationError, ConfigError, TreeMismatch
from hansa.rules import Both, ByPrefix, Collect, WeightedMean


def update(client: str, weight: float = 1.0, **leaves: list[float]) -> Update:
    return Update({name: np.array(values, np.float32) for name, values in leaves.items()}, weight, client=client)


def finished(rule: WeightedMean | Collect | Both | ByPrefix, *updates: Update) -> Tree:
    accumulator = rule.zero()
    for each in updates:
        accumulator = rule.accumulate(accumulator, each)  # type: ignore[arg-type]  # each rule has its own
    return rule.finish(accumulator)  # type: ignore[arg-type]  # each rule has its own


A, B = update("a", 1, w=[0, 4], v=[1]), update("b", 3, w=[4, 0], v=[5])


def test_the_mean_is_weighted_unless_every_update_counts_once() -> None:
    assert finished(WeightedMean(), A, B)["w"].tolist() == [3, 1]
    assert finished(WeightedMean(equal=True), A, B)["w"].tolist() == [2, 2]


def test_an_update_of_weight_zero_changes_nothing() -> None:
    assert finished(WeightedMean(), A, update("c", 0, w=[9, 9], v=[9]))["w"].tolist() == [0, 4]


def test_counting_every_update_once_takes_one_whose_weight_is_zero() -> None:
    assert finished(WeightedMean(equal=True), A, update("c", 0, w=[4, 0], v=[9]))["w"].tolist() == [2, 2]


def test_weights_that_are_all_zero_have_no_mean() -> None:
    with pytest.raises(AggregationError, match="weights of all 2 updates are zero") as caught:
        finished(WeightedMean(), update("a", 0, w=[1]), update("b", 0, w=[1]))
    assert "number of examples" in caught.value.hint


def test_no_update_has_no_mean() -> None:
    with pytest.raises(AggregationError, match="no update to average") as caught:
        finished(WeightedMean())
    assert "see the outcomes" in caught.value.hint


def test_an_update_of_another_shape_is_told_with_its_client_and_leaf() -> None:
    with pytest.raises(TreeMismatch, match=r"leaf 'w' has shape \(3,\), expected \(2,\)") as caught:
        finished(WeightedMean(), A, update("mallory", w=[1, 2, 3], v=[1]))
    assert "the update of client 'mallory'" in str(caught.value)
    assert "same model" in caught.value.hint


def test_partial_averages_of_other_models_do_not_merge() -> None:
    rule = WeightedMean()
    with pytest.raises(TreeMismatch, match=r"missing .'v'., unexpected none") as caught:
        rule.merge(rule.accumulate(rule.zero(), A), rule.accumulate(rule.zero(), update("b", w=[1, 2])))
    assert "two partial averages" in str(caught.value)


def test_a_collection_keeps_every_update_under_its_client_in_the_order_of_ids() -> None:
    found = finished(Collect(), update("b/2", w=[2]), update("a", w=[1]))
    assert list(found) == ["a/w", "b%2F2/w"]
    assert part(found, "b/2")["w"].tolist() == [2]


def test_a_collection_takes_a_client_once() -> None:
    with pytest.raises(AggregationError, match="second update of client 'a'") as caught:
        finished(Collect(), A, A)
    assert "ask each client once" in caught.value.hint
    rule = Collect()
    with pytest.raises(AggregationError, match="second update of client 'a'"):
        rule.merge(rule.accumulate(rule.zero(), A), rule.accumulate(rule.zero(), A))


def test_both_rules_see_every_update() -> None:
    found = finished(Both(WeightedMean(), Collect()), A, B)
    assert part(found, "first")["w"].tolist() == [3, 1]
    assert part(part(found, "second"), "b")["w"].tolist() == [4, 0]


def test_what_one_of_both_refuses_reaches_neither() -> None:
    rule = Both(WeightedMean(), Collect())
    accumulator = rule.accumulate(rule.zero(), A)
    with pytest.raises(AggregationError):
        rule.accumulate(accumulator, A)
    assert part(rule.finish(accumulator), "first")["w"].tolist() == [0, 4]


def test_each_leaf_goes_to_the_rule_with_the_longest_prefix() -> None:
    rule = ByPrefix({"": WeightedMean(), "w": WeightedMean(equal=True), "wide": Collect()})
    updates = [Update({**each.tree, "wide": each.tree["v"]}, each.weight, client=each.client) for each in (A, B)]
    found = finished(rule, *updates)
    assert found["v"].tolist() == [4]
    assert found["w"].tolist() == [2, 2]
    assert found["a/wide"].tolist() == [1]


def test_a_leaf_without_a_rule_is_told_with_the_prefixes_that_there_are() -> None:
    with pytest.raises(TreeMismatch, match="no rule for leaf 'v': the prefixes are 'w'") as caught:
        finished(ByPrefix({"w": WeightedMean()}), A)
    assert 'prefix ""' in caught.value.hint


def test_no_prefix_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one rule"):
        ByPrefix({})
