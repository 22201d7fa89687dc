"""examples/alice_bob_charlie: whoever knows three digits says no others, and the average of all three says more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.core.history import FEDERATED, History
from hansa.core.metrics import ConfusionMatrix

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "alice_bob_charlie"

HOLDS = {"alice": {0, 1, 2}, "bob": {3, 4, 5}, "charlie": {6, 7, 8, 9}}


def said(history: History, model: str) -> set[int]:
    """The digits that a model took any picture for, when it was first evaluated."""
    confusion = next(history.evaluations(model)).metrics["confusion"]
    assert isinstance(confusion, ConfusionMatrix)
    return {digit for digit in range(10) if confusion.predicted_shares([(digit,)])[0] > 0}


def test_each_owner_knows_its_own_digits_only_and_the_federation_more(copied: Copied) -> None:
    copied.change("experiment.py", {"ROUNDS, EVERY = 40, 10": "ROUNDS, EVERY = 4, 4"})
    history = copied.same_bits()
    for owner, digits in HOLDS.items():
        assert said(history, owner) <= digits
        assert history.final("accuracy", owner) < 0.5
    assert history.final("accuracy", FEDERATED) > max(history.final("accuracy", owner) for owner in HOLDS)
    assert {client for entry in history.evaluations() for client in entry.outcomes} == {"tester"}


@pytest.mark.parametrize(
    ("variables", "trained_on"),
    [pytest.param(False, 1438, id="digits"), pytest.param(True, 60_000, id="mnist", marks=pytest.mark.thorough)],
)
def test_run_without_a_word_about_owners_it_takes_mnist_where_that_is(
    copied: Copied, real_data: Path, variables: bool, trained_on: int
) -> None:
    copied.change("experiment.py", {"ROUNDS, EVERY = 40, 10": "ROUNDS, EVERY = 1, 1", "owners=True)": "owners=False)"})
    history = copied.document(**({"HANSA_DATA": str(real_data)} if variables else {}))
    (trained,) = [entry for entry in history["entries"] if entry["work"] == "train"]
    assert sum(outcome["weight"] for outcome in trained["outcomes"].values()) == trained_on
