"""Joined trees: a monoid to the last bit, shares that are exact, and no update that XGBoost would stumble over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.errors import AggregationError, DataError, TreeMismatch, UnknownName
from hansa.models import ensemble
from hansa.models.xgboost import XGBoostModel
from hansa.rules.trees import JoinedTrees, Shares
from hansa.testing import check_rule

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((60, 3)).astype(np.float32)
X[::6, 2] = np.nan
Y = (X[:, :2].sum(axis=1) > 0).astype(np.int64)
MODEL = XGBoostModel(3, 2, {"max_depth": 2})
NOTHING = MODEL.init(key(0))


def grown(client: str, rows: slice, model: XGBoostModel = MODEL, rounds: int = 2) -> Update:
    new = model.boosted(model.init(key(0)), {"x": X[rows], "y": Y[rows]}, key(1), rounds)
    return Update(ensemble.trees_to_tree(new), float(len(X[rows])), client=client)


UPDATES = [grown(client, slice(at, at + size)) for client, at, size in (("b", 0, 30), ("c", 30, 10), ("a", 40, 20))]


def altered(change: Callable[[dict[str, Any]], Any]) -> Update:
    """A good update whose document is changed in one place."""
    document = json.loads(UPDATES[0].tree["trees"].tobytes())
    change(document)
    return Update({"trees": np.frombuffer(json.dumps(document).encode(), np.uint8)}, client="mallory")


def first(document: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = document["trees"][0]
    return tree


MALFORMED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a feature that there is not": (lambda d: first(d)["split_indices"].__setitem__(0, 3), "splits by feature 3"),
    "a child that there is not": (lambda d: first(d)["left_children"].__setitem__(0, 99), "are no tree"),
    "a node that is its own child": (lambda d: first(d)["right_children"].__setitem__(0, 0), "are no tree"),
    "a node with one child": (lambda d: first(d)["right_children"].__setitem__(0, -1), "are no tree"),
    "another parent": (lambda d: first(d)["parents"].__setitem__(1, 2), "are no tree"),
    "half a node": (lambda d: first(d)["left_children"].__setitem__(0, 0.5), "whole numbers"),
    "infinity": (lambda d: first(d)["split_conditions"].__setitem__(0, 1e39), "NaN or infinity"),
    "nodes that are cut off": (lambda d: first(d)["sum_hessian"].pop(), "nodes has"),
    "a split by category": (lambda d: first(d)["split_type"].__setitem__(0, 1), "by category"),
    "no such class": (lambda d: d["classes"].__setitem__(0, 1), "none of 1"),
    "a tree too many": (lambda d: d["trees"].append(first(d)), "3 trees"),
    "no trees at all": (lambda d: d.pop("trees"), "KeyError"),
    "a number instead of trees": (lambda d: d.update(trees=7), "no boosted trees"),
}


@pytest.mark.parametrize("shares", ["weighted", "equal", "added"])
def test_the_rule_is_a_monoid_to_the_last_bit(shares: Shares) -> None:
    rule = JoinedTrees(shares)
    like = rule.finish({u.client: (ensemble.trees_from_tree(u.tree), u.weight) for u in UPDATES})
    others = XGBoostModel(3, 2, {"max_depth": 2, "base_score": 0.25})
    misfits = [
        UPDATES[0],
        grown("d", slice(30), others),
        Update({}, client="e"),
        Update({"trees": np.zeros(3)}, client="f"),
    ]
    check_rule(rule, UPDATES, like=like, misfits=[*misfits, *(altered(change) for change, _ in MALFORMED.values())])


@pytest.mark.parametrize(("change", "said"), MALFORMED.values(), ids=MALFORMED)
def test_trees_that_xgboost_could_not_have_grown_are_refused(
    change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    with pytest.raises(AggregationError, match=said) as caught:
        JoinedTrees().check({}, altered(change))
    assert caught.value.where == "the update of client 'mallory'"


@pytest.mark.parametrize("data", [b"", b"[1, 2]", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_bytes_that_are_no_trees_are_refused(data: bytes) -> None:
    with pytest.raises(AggregationError):
        JoinedTrees().check({}, Update({"trees": np.frombuffer(data, np.uint8)}))


def margins(tree: Tree) -> Any:
    """What the joined trees add to an empty ensemble."""
    whole = ensemble.appended(ensemble.from_leaf(NOTHING["trees"]), ensemble.trees_from_tree(tree))
    params = {"trees": ensemble.to_leaf(whole)}
    return MODEL.predict(MODEL.load(params), {"x": X, "y": Y}).outputs[:, 1].astype(np.float64)


@pytest.mark.parametrize(
    ("shares", "factors"), [("weighted", [1 / 2, 1 / 6, 1 / 3]), ("equal", [1 / 3] * 3), ("added", [1.0] * 3)]
)
def test_the_ensemble_moves_by_the_clients_steps_times_their_shares(shares: Shares, factors: list[float]) -> None:
    rule, accumulator = JoinedTrees(shares), JoinedTrees().zero()
    for update in UPDATES:
        accumulator = rule.accumulate(accumulator, update)
    expected = sum(factor * margins(update.tree) for factor, update in zip(factors, UPDATES, strict=True))
    assert np.allclose(margins(rule.finish(accumulator)), expected, atol=1e-6)


def test_trees_for_another_ensemble_than_today_s_are_refused_even_if_they_come_first() -> None:
    head = ensemble.head_of(ensemble.from_leaf(NOTHING["trees"]))
    strange = grown("d", slice(30), XGBoostModel(3, 2, {"base_score": 0.25}))
    with pytest.raises(TreeMismatch, match=r"boosted for binary:logistic \(base_score=.*2.5E-1.*, expected .*5E-1"):
        JoinedTrees(head=head).check({}, strange)
    JoinedTrees().check({}, strange)


def test_no_update_no_weight_and_no_such_shares() -> None:
    rule = JoinedTrees()
    with pytest.raises(AggregationError, match="there are no trees to join"):
        rule.finish(rule.zero())
    weightless = rule.accumulate(rule.zero(), Update(UPDATES[0].tree, 0.0, client="a"))
    with pytest.raises(AggregationError, match="the weights of all 1 updates are zero"):
        rule.finish(weightless)
    with pytest.raises(UnknownName, match="no kind of shares 'fair'"):
        JoinedTrees("fair")  # type: ignore[arg-type]  # that is the point


def test_what_was_cut_off_is_what_was_grown_and_joins_to_the_same_ensemble() -> None:
    """In the words of XGBoost: the appended ensemble is the one that it would have saved."""
    new = MODEL.boosted(NOTHING, {"x": X, "y": Y}, key(1), 3)
    whole = ensemble.appended(ensemble.from_leaf(NOTHING["trees"]), new)
    assert ensemble.count(whole) == 3
    params = {"trees": ensemble.to_leaf(whole)}
    assert MODEL.extract(MODEL.native(params))["trees"].tobytes() == params["trees"].tobytes()
    again = ensemble.trees_from_tree(ensemble.trees_to_tree(ensemble.since(whole, 1)))
    assert again.iterations == (1, 1)
    assert again.trees == new.trees[1:]


def test_a_leaf_that_is_no_bytes_is_refused() -> None:
    with pytest.raises(DataError, match="boosted trees travel as bytes, not as float64 of shape"):
        ensemble.from_leaf(np.zeros(3))
