"""Metrics are monoids with exact sums, and survive JSON."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

from hansa.core.metrics import ConfusionMatrix, Mean, Metric, Metrics, Sum, metric_from_json
from hansa.errors import ConfigError, DataError, InputError, UnknownName
from hansa.training import TopK, accuracy
from hansa.training import confusion_matrix as measure_confusion

VALUES = st.one_of(
    st.floats(-1e100, 1e100), st.integers(-(10**9), 10**9).map(float), st.sampled_from([math.nan, math.inf, -math.inf])
)
WEIGHTS = st.one_of(st.integers(0, 10**6), st.floats(0, 1e50))
CLASSES = 4

MEANS = st.one_of(
    st.builds(Mean.of, VALUES, WEIGHTS),
    st.integers(0, 50).flatmap(lambda of: st.builds(Mean.share, st.integers(0, of), st.just(of))),
)
SUMS = st.builds(Sum.of, VALUES)
COUNTS = st.lists(
    st.lists(st.integers(0, 10**12), min_size=CLASSES, max_size=CLASSES), min_size=CLASSES, max_size=CLASSES
)
MATRICES = COUNTS.map(lambda rows: ConfusionMatrix(tuple(map(tuple, rows))))
# Each name has a kind, as it has among the clients of a run.
NAMED: dict[str, st.SearchStrategy[Any]] = {"loss": MEANS, "accuracy": MEANS, "n": SUMS, "confusion": MATRICES}
METRICS = st.fixed_dictionaries({}, optional=NAMED).map(lambda named: Metrics(named))


def told(metric: Any) -> str:
    """All that a metric is, as text: NaN is not equal to itself."""
    return json.dumps(metric.to_json(), sort_keys=True, allow_nan=False)


@pytest.mark.parametrize("kind", [MEANS, SUMS, MATRICES, METRICS], ids=["mean", "sum", "confusion", "metrics"])
@settings(max_examples=100)
@given(st.data())
def test_merging_is_associative_and_commutative(kind: st.SearchStrategy[Any], data: st.DataObject) -> None:
    a, b, c = (data.draw(kind) for _ in "abc")
    assert told(a.merge(b)) == told(b.merge(a))
    assert told(a.merge(b).merge(c)) == told(a.merge(b.merge(c)))


@pytest.mark.parametrize("kind", [MEANS, SUMS, MATRICES], ids=["mean", "sum", "confusion"])
@settings(max_examples=100)
@given(st.data())
def test_metrics_survive_json(kind: st.SearchStrategy[Metric], data: st.DataObject) -> None:
    metric = data.draw(kind)
    text = json.dumps(metric.to_json(), allow_nan=False)
    back = metric_from_json(json.loads(text))
    assert type(back) is type(metric)
    assert told(back) == told(metric)
    assert back.value == metric.value or (math.isnan(back.value) and math.isnan(metric.value))
    assert isinstance(metric, Metric)


@settings(max_examples=100)
@given(METRICS)
def test_no_metrics_are_neutral_and_named_metrics_survive_json(metrics: Metrics) -> None:
    assert told(metrics.merge(Metrics())) == told(Metrics().merge(metrics)) == told(metrics)
    back = Metrics.from_json(json.loads(json.dumps(metrics.to_json(), allow_nan=False)))
    assert list(back) == list(metrics)
    assert told(back) == told(metrics)
    assert list(metrics.under("local")) == [f"local/{name}" for name in metrics]


FINITE = st.lists(st.tuples(st.floats(-1e100, 1e100), st.integers(0, 10**6)), min_size=1, max_size=20)


@settings(max_examples=100)
@given(FINITE)
def test_a_mean_is_that_of_fractions_however_it_is_grouped(parts: Sequence[tuple[float, int]]) -> None:
    merged = functools.reduce(Mean.merge, (Mean.of(value, weight) for value, weight in parts))
    weight = sum(weight for _, weight in parts)
    if not weight:
        assert math.isnan(merged.value)
        return
    assert merged.value == float(sum(Fraction(value) * weight for value, weight in parts) / weight)
    assert merged == functools.reduce(Mean.merge, (Mean.of(value, weight) for value, weight in reversed(parts)))


def test_a_mean_counts_by_weight() -> None:
    assert Mean.of(1.0, 3).merge(Mean.of(5.0, 1)).value == 2.0
    assert Mean.share(3, 4).merge(Mean.share(0, 4)).value == 0.375
    assert Sum.of(0.1).merge(Sum.of(0.2)).value == float(Fraction(0.1) + Fraction(0.2))


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_mean_s_weight_makes_sense(weight: float) -> None:
    with pytest.raises(ConfigError, match="finite number of at least 0"):
        Mean.of(1.0, weight)


def test_a_nan_is_not_lost_on_the_way() -> None:
    merged = Metrics({"loss": Mean.of(1.0, 5)}).merge(Metrics({"loss": Mean.of(math.nan, 1)}))
    assert math.isnan(merged.value("loss"))
    assert math.isinf(Mean.of(math.inf, 1).merge(Mean.of(1, 5)).value)


@pytest.mark.parametrize(
    "merge",
    [
        lambda: Sum.of(1.7e308).merge(Sum.of(1.7e308)),
        lambda: Mean.of(1e308, 1000).merge(Mean.of(math.nan, 1)),
        lambda: Mean.of(1e308, 1000).merge(Mean.of(math.inf, 1)),
    ],
)
def test_a_sum_beyond_float64_is_infinite_and_not_an_error(merge: Any) -> None:
    assert not math.isfinite(merge().value)


# --- the confusion matrix

LABELLED = st.integers(2, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=40),
    )
)


@settings(max_examples=60)
@given(LABELLED)
def test_the_confusion_matrix_agrees_with_scikit_learn(case: tuple[int, list[tuple[int, int]]]) -> None:
    classes, pairs = case
    true, predicted = np.array(pairs).T
    found, labels = ConfusionMatrix.of(predicted, true, classes), list(range(classes))
    assert np.array_equal(found.array, confusion_matrix(true, predicted, labels=labels))
    assert found.value == pytest.approx(accuracy_score(true, predicted), abs=1e-15)
    precision, recall, f1, _ = precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
    assert np.allclose(found.precision, precision, rtol=1e-14)
    assert np.allclose(found.recall, recall, rtol=1e-14)
    assert np.allclose(found.f1, f1, rtol=1e-14)
    half = len(pairs) // 2
    parts = [ConfusionMatrix.of(predicted[part], true[part], classes) for part in (slice(half), slice(half, None))]
    assert parts[0].merge(parts[1]) == found
    shares = found.predicted_shares([[0], range(1, classes)])
    assert shares[0] == pytest.approx((predicted == 0).mean())
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("predicted", "true", "what"), [([0, 3], [0, 1], "prediction is 3"), ([0, 1], [-1, 1], "label is -1")]
)
def test_classes_that_there_are_not_are_named(predicted: list[int], true: list[int], what: str) -> None:
    with pytest.raises(DataError, match=f"a {what}, but there are 3 classes, numbered from 0 to 2"):
        ConfusionMatrix.of(np.array(predicted), np.array(true), 3)


def test_an_empty_confusion_matrix_has_no_accuracy_but_ratios_of_zero() -> None:
    empty = ConfusionMatrix.of(np.array([], np.int64), np.array([], np.int64), 3)
    assert math.isnan(empty.value)
    assert empty.precision.tolist() == empty.recall.tolist() == empty.f1.tolist() == [0, 0, 0]
    assert all(math.isnan(share) for share in empty.predicted_shares([[0], [1, 2]]))


# --- what evaluations measure


@settings(max_examples=60)
@given(st.integers(3, 7), st.integers(1, 20), st.integers(0, 999), st.integers(1, 8))
def test_top_k_and_accuracy_agree_with_scikit_learn(classes: int, examples: int, seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    outputs, labels = (
        generator.standard_normal((examples, classes)).astype(np.float32),
        generator.integers(classes, size=examples),
    )
    expected = 1.0 if k >= classes else top_k_accuracy_score(labels, outputs, k=k, labels=list(range(classes)))
    assert TopK(k)(outputs, labels).value == pytest.approx(expected, abs=1e-15)
    assert TopK(k)(outputs, labels).weight == examples
    assert accuracy(outputs, labels).value == pytest.approx(accuracy_score(labels, outputs.argmax(axis=1)), abs=1e-15)
    assert TopK(1)(outputs, labels) == accuracy(outputs, labels)
    matrix = measure_confusion(outputs, labels)
    assert matrix.value == pytest.approx(accuracy(outputs, labels).value)
    assert len(matrix.counts) == classes


# --- what does not go together


def test_one_name_is_one_kind_of_metric() -> None:
    with pytest.raises(InputError, match="metric 'loss' is a Mean and Sum at once"):
        Metrics({"loss": Mean.of(1)}).merge(Metrics({"loss": Sum.of(1)}))


def test_confusion_matrices_of_other_classes_do_not_add_up() -> None:
    with pytest.raises(InputError, match="of 2 and 3 classes"):
        ConfusionMatrix(((1, 0), (0, 1))).merge(ConfusionMatrix(((0,) * 3,) * 3))


def test_a_metric_that_is_not_there_is_named_with_those_near_it() -> None:
    with pytest.raises(UnknownName, match="no metric 'acuracy'") as caught:
        Metrics({"accuracy": Mean.of(1), "loss": Mean.of(1)}).value("acuracy")
    assert "accuracy" in caught.value.hint
    with pytest.raises(UnknownName, match="kind of metric 'median'"):
        metric_from_json({"kind": "median"})
