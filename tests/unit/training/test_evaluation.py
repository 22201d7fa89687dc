"""Evaluation trains nothing, and measures the same whatever the size of its batches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hansa.core.keys import key
from hansa.core.metrics import Mean
from hansa.core.tree import Array
from hansa.core.work import ClientContext
from hansa.errors import ConfigError, DataError
from hansa.models import NumpyMLP
from hansa.testing import blobs
from hansa.training import Evaluation, Measure, TopK, accuracy, confusion_matrix

MODEL = NumpyMLP((5, 8, 3), dtype="float64")
DATA = blobs(2, examples=30)
CONTEXT = ClientContext("0", DATA.shard("0"))
PARAMS = MODEL.init(key(0))
MEASURES: dict[str, Measure] = {"accuracy": accuracy, "top2": TopK(2), "confusion": confusion_matrix}


def test_what_is_measured_does_not_depend_on_the_size_of_batches() -> None:
    whole = Evaluation(MODEL, MEASURES, batch_size=1000)(PARAMS, CONTEXT)
    for size in (1, 5, 12):
        part = Evaluation(MODEL, MEASURES, batch_size=size)(PARAMS, CONTEXT)
        assert part.metrics["accuracy"] == whole.metrics["accuracy"]
        assert part.metrics["confusion"] == whole.metrics["confusion"]
        assert part.metrics.value("loss") == pytest.approx(whole.metrics.value("loss"), rel=1e-12)
    assert list(whole.metrics) == ["loss", "accuracy", "top2", "confusion"]
    assert whole.metrics.value("top2") >= whole.metrics.value("accuracy")


def test_the_update_carries_no_arrays_and_its_weight_is_the_examples() -> None:
    update = Evaluation(MODEL)(PARAMS, CONTEXT)
    assert update.tree == {}
    assert update.weight == len(DATA.test["0"]) == 12
    assert update.state is None


def test_the_split_that_is_named_is_measured() -> None:
    train, test = Evaluation(MODEL, split="train")(PARAMS, CONTEXT), Evaluation(MODEL)(PARAMS, CONTEXT)
    assert (train.weight, test.weight) == (30, 12)
    everything = DATA["0"].all()
    expected = MODEL.predict(MODEL.load(PARAMS), everything)
    assert train.metrics.value("loss") == pytest.approx(expected.loss)
    assert train.metrics.value("accuracy") == (expected.outputs.argmax(axis=1) == everything["y"]).mean()


def test_any_function_of_outputs_and_labels_is_a_measure() -> None:
    def confidence(outputs: Array, labels: Array) -> Mean:
        return Mean.of(float(outputs.max()), len(labels))

    found = Evaluation(MODEL, {"confidence": confidence})(PARAMS, CONTEXT).metrics
    assert list(found) == ["loss", "confidence"]


def test_a_client_without_data_in_the_split_is_told_by_name() -> None:
    for data in ({}, {"train": DATA["0"]}, {"test": DATA["0"].take(0)}):
        with pytest.raises(DataError, match="no examples in the split 'test' to evaluate on") as caught:
            Evaluation(MODEL)(PARAMS, ClientContext("alice", data))
        assert "client 'alice'" in str(caught.value)
        assert "'test'" in caught.value.hint


def test_a_model_that_diverged_measures_nan_and_does_not_raise() -> None:
    broken = {name: np.full_like(leaf, np.nan) for name, leaf in PARAMS.items()}
    assert math.isnan(Evaluation(MODEL)(broken, CONTEXT).metrics.value("loss"))


def test_a_field_of_labels_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="'label'"):
        Evaluation(MODEL, target="label")(PARAMS, CONTEXT)


def test_top_k_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="one score at least, not 0"):
        TopK(0)


def test_accuracy_of_a_label_for_each_pixel_is_a_share_of_pixels() -> None:
    scores, labels = np.zeros((2, 3, 4), np.float32), np.array([[0, 1, 2, 2], [0, 0, 0, 0]])
    scores[0, 1] = 1  # the first example says 1 everywhere, the second 0
    assert accuracy(scores, labels) == Mean.share(1 + 4, 8)
