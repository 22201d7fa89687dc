"""What the demo makes of an evaluation, and of all of them: the document that `--json` prints."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hansa.core.metrics import ConfusionMatrix, Metrics
from hansa.demo.play import Measured

if TYPE_CHECKING:
    from hansa.core.history import Entry
    from hansa.demo.play import Played


def test_shares_are_counted_by_what_was_predicted_not_by_what_was_true(entry: Entry) -> None:
    measured = Measured.of(entry)
    assert measured.shares == pytest.approx({"0-3": 14 / 30, "4-6": 10 / 30, "7-9": 6 / 30})
    assert (measured.round, measured.model, measured.loss) == (7, "bob", 0.75)
    assert measured.accuracy == pytest.approx(16 / 30)


def test_a_model_that_says_only_one_digit_has_its_whole_share_in_one_group(entry: Entry) -> None:
    confusion = ConfusionMatrix(tuple(tuple(3 if predicted == 5 else 0 for predicted in range(10)) for _ in range(10)))
    only_fives = replace(entry, metrics=Metrics({**entry.metrics, "confusion": confusion}))
    assert Measured.of(only_fives).shares == {"0-3": 0.0, "4-6": 1.0, "7-9": 0.0}


def test_the_document_holds_every_number(played: Played) -> None:
    document = played.document()
    shares = {"0-3": 0.5, "4-6": 0.3125, "7-9": 0.1875}
    assert document["accuracy"] == played.final.accuracy == pytest.approx(0.841)
    assert document["evaluations"][0] == {
        "round": 1,
        "model": "alice",
        "loss": 1.25,
        "accuracy": 0.111,
        "shares": shares,
    }
    assert [(each["round"], each["model"]) for each in document["evaluations"]] == [
        (number, model) for number in (1, 11) for model in ("alice", "bob", "charlie", "federated")
    ]
    assert document["alone"]["alice"] == {"loss": 1.25, "accuracy": 0.201, "shares": shares}
    assert document["pooled"] == {"loss": 0.3, "accuracy": 0.907, "shares": shares}
    assert (document["rounds"], document["seed"], document["mode"], document["seconds"]) == (11, 3, "reference", 12.346)


def test_a_loss_that_json_has_no_number_for_is_null(played: Played) -> None:
    for loss in (math.nan, math.inf):
        document = replace(played, pooled=replace(played.pooled, loss=loss)).document()
        assert document["pooled"]["loss"] is None
        json.dumps(document, allow_nan=False)
