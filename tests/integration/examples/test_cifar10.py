"""examples/cifar10: owners decode their own pictures, evaluate half at a time, and learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "cifar10"


@pytest.fixture
def smaller(copied: Copied, real_data: Path) -> Copied:
    if not (real_data / "cifar10-jpeg").is_dir():
        pytest.skip(f"no CIFAR-10: {real_data} has no folder 'cifar10-jpeg'")
    copied.change("experiment.py", {"ROUNDS = 5": "ROUNDS = 3"})
    for owners in ("owners.toml", "unlike.toml"):
        copied.change(owners, {"count = 10": "count = 2", "owners = 10": "owners = 2, limit = 1000"})
    return copied


def test_two_owners_learn_for_real_as_they_do_simulated(smaller: Copied, real_data: Path) -> None:
    history = smaller.same_bits(HANSA_DATA=str(real_data))
    evaluators = [list(entry.outcomes) for entry in history.evaluations()]
    assert [len(half) for half in evaluators] == [1] * 4  # the initial model, and after each round
    weights = {o.weight for e in history.entries for o in e.outcomes.values() if e.work == "train"}
    assert weights == {800.0}
    trained = [entry.metrics.value("loss") for entry in history.entries if entry.work == "train"]
    assert trained[0] > trained[1] > trained[2]
    assert history.final("accuracy") > 0.15


@pytest.mark.thorough
def test_unlike_owners_hold_unlike_numbers_and_augmentation_is_another_run(smaller: Copied, real_data: Path) -> None:
    smaller.change("experiment.py", {"ROUNDS = 3": "ROUNDS = 1"})
    smaller.change("unlike.toml", {", limit = 1000": ""})
    smaller.change("unlike.toml", {"owners = 2": "owners = 40"})
    runs = [smaller.document("--owners", "unlike.toml", HANSA_DATA=str(real_data))]
    smaller.change("experiment.py", {'"augment": False': '"augment": True'})
    runs += [smaller.document("--owners", "unlike.toml", HANSA_DATA=str(real_data)) for _ in range(2)]
    outcomes = runs[0]["entries"][1]["outcomes"]
    first, second = (outcomes[owner]["weight"] for owner in ("owner-1", "owner-2"))
    assert abs(first - second) > 50  # dealt evenly they would differ by one
    plain, mirrored, again = (run["model_sha256"] for run in runs)
    assert plain != mirrored
    assert mirrored == again


@pytest.mark.thorough
def test_one_owner_alone_and_the_federation_are_measured_on_the_whole_test_set(
    smaller: Copied, real_data: Path
) -> None:
    alone, federation = smaller.printed("alone.py", HANSA_DATA=str(real_data)).splitlines()
    assert alone.startswith("owner-1 alone:")
    assert federation.startswith("the federation:")
    for line in (alone, federation):
        assert float(line.split()[-1].rstrip("%")) > 12  # guessing is right once in ten times
