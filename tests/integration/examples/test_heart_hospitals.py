"""examples/heart_hospitals: a logistic regression and boosted trees of four hospitals, each with much that is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import hansa

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "heart_hospitals"

HOSPITALS = {"cleveland", "hungarian", "switzerland", "va"}


@pytest.fixture
def folder(real_data: Path) -> str:
    if not (real_data / "heart-disease").is_dir():
        pytest.skip(f"no hospitals: {real_data} has no folder 'heart-disease'")
    return str(real_data)


@pytest.mark.parametrize(
    ("file", "rounds", "least"),
    [("logistic.py", "ROUNDS = 20", 0.8), pytest.param("trees.py", "ROUNDS = 40", 0.75, marks=pytest.mark.thorough)],
)
def test_patients_are_ranked_far_better_than_by_chance(
    copied: Copied, folder: str, file: str, rounds: str, least: float
) -> None:
    copied.change(file, {rounds: "ROUNDS = 5"})
    history = copied.same_bits(file=file, HANSA_DATA=folder)
    assert history.final("auc") > least
    assert set(list(history.evaluations())[-1].outcomes) == HOSPITALS


def test_what_was_not_measured_is_missing_and_counted_so(
    copied: Copied, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANSA_DATA", folder)
    data = hansa.shards_of(hansa.load_owners(copied.folder / "owners.toml"))
    missing = {
        hospital: sum(int(np.isnan(shard.all()["x"]).sum()) for shard in data.shard(hospital).values())
        for hospital in HOSPITALS
    }
    # UCI counts 6, 782, 273 and 698 cells; to these come zeros of cholesterol (123 in Switzerland, 49 in the VA) and pressure.
    assert missing == {"cleveland": 6, "hungarian": 782, "switzerland": 273 + 123, "va": 698 + 49 + 1}
    assert {hospital: len(data[hospital]) + len(data.test[hospital]) for hospital in HOSPITALS} == {
        "cleveland": 303,
        "hungarian": 294,
        "switzerland": 123,
        "va": 200,
    }
