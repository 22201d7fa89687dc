"""The area under the ROC curve: scikit-learn's, within its bound; merged, it is that of all examples together."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from hansa.core.metrics import Metrics
from hansa.core.ranking import Ranking
from hansa.errors import ConfigError, DataError
from hansa.training.auc import auc

EXAMPLES = st.lists(st.tuples(st.floats(-20, 20), st.integers(0, 1)), max_size=30)


def ranking(examples: list[tuple[float, int]]) -> Ranking:
    return Ranking.of(np.array([score for score, _ in examples]), np.array([label for _, label in examples]))


def scores(margins: Any) -> Any:
    return np.stack([np.full(len(margins), 3.0), margins + 3.0], axis=1)


@given(EXAMPLES)
def test_it_is_scikit_learn_s_within_its_bound(examples: list[tuple[float, int]]) -> None:
    found = ranking(examples)
    if len({label for _, label in examples}) < 2:
        assert math.isnan(found.value)
        assert math.isnan(found.bound)
        return
    expected = roc_auc_score([label for _, label in examples], [score for score, _ in examples])
    assert abs(found.value - expected) <= found.bound + 1e-12


@given(EXAMPLES, EXAMPLES, EXAMPLES)
def test_merging_is_counting_all_in_any_order(a: Any, b: Any, c: Any) -> None:
    left = ranking(a).merge(ranking(b)).merge(ranking(c))
    assert left == ranking([*c, *a, *b])
    assert left == ranking(c).merge(ranking(b).merge(ranking(a)))
    assert left == left.merge(ranking([]))


def test_the_pooled_area_is_no_mean_of_areas() -> None:
    """Two owners whose scores rank their own examples perfectly, on different scales."""
    low, high = ranking([(-5.0, 0), (-4.0, 1)]), ranking([(4.0, 0), (5.0, 1)])
    assert (low.value, high.value) == (1.0, 1.0)
    assert low.merge(high).value == 0.75


def test_on_many_scores_the_bound_is_small() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 5000)
    margins = generator.standard_normal(5000) * 2 + labels
    found = auc(scores(margins), labels)
    assert found.bound < 0.005
    assert abs(found.value - roc_auc_score(labels, margins)) < 1e-4


@given(EXAMPLES)
def test_it_survives_json(examples: list[tuple[float, int]]) -> None:
    metrics = Metrics({"auc": ranking(examples)})
    assert Metrics.from_json(json.loads(json.dumps(metrics.to_json(), allow_nan=False)))["auc"] == metrics["auc"]


def test_what_has_no_area_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"of two classes, and the outputs have shape \(4, 3\)"):
        auc(np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(DataError, match="a label is 2"):
        auc(scores(np.zeros(2)), np.array([0, 2]))
    with pytest.raises(DataError, match="a score is NaN"):
        auc(scores(np.array([np.nan, 0.0])), np.array([0, 1]))
