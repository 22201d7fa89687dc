"""examples/shakespeare: roles are clients of three companies, a few of them learn in a round, and their text is cut well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import hansa

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "shakespeare"

GENRES = ("tragedy", "comedy", "history")


@pytest.fixture
def smaller(copied: Copied, real_data: Path) -> Copied:
    if not (real_data / "shakespeare").is_dir():
        pytest.skip(f"no plays: {real_data} has no folder 'shakespeare'")
    copied.change("owners.toml", {f'"{genre}" }}': f'"{genre}", roles = 2 }}' for genre in GENRES})
    changes = {
        "ROUNDS = 40": "ROUNDS = 3",
        "EVERY = 20": "EVERY = 3",
        "COHORT = 15": "COHORT = 4",
        "HIDDEN = 128": "HIDDEN = 16",
    }
    copied.change("experiment.py", changes)
    return copied


def test_roles_learn_for_real_as_they_do_simulated(smaller: Copied, real_data: Path) -> None:
    history = smaller.same_bits(HANSA_DATA=str(real_data))
    cohorts = [set(entry.outcomes) for entry in history.entries if entry.work == "train"]
    assert [len(cohort) for cohort in cohorts] == [4, 4, 4]
    (before, after) = history.evaluations()
    assert {role.split("/")[0] for role in after.outcomes} == {"globe", "rose", "swan"}
    assert len(after.outcomes) == 6
    assert after.metrics.value("loss") < before.metrics.value("loss") - 0.5
    assert after.metrics.value("accuracy") > 0.1 > before.metrics.value("accuracy")


def test_windows_are_the_whole_text_and_each_is_followed_by_what_comes_next(
    smaller: Copied, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANSA_DATA", str(real_data))
    loaded = hansa.load_experiment(smaller.folder / "experiment.py")
    data = loaded.data()
    for role in data:
        text = data[role]["text"]
        cut = loaded.names["windows"](data[role]).all()
        length = cut["x"].size
        assert len(text) - 80 <= length < len(text)
        assert np.array_equal(cut["x"].ravel(), text[:length])
        assert np.array_equal(cut["y"].ravel(), text[1 : length + 1])


def test_what_a_role_holds_out_is_none_of_what_it_trains_on(
    smaller: Copied, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANSA_DATA", str(real_data))
    data = hansa.shards_of(hansa.load_owners(smaller.folder / "owners.toml"))
    for role in data:
        trained, held_out = data[role]["text"], data.test[role]["text"]
        assert (len(trained) + len(held_out)) * 4 // 5 == len(trained)
        assert len(held_out) > 80
