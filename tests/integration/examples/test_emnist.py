"""examples/emnist: PyTorch, JAX and a client written in three functions all learn to read what unseen writers wrote."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hansa

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "emnist"

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Threads that wait for each other take many times as long where other tests use the processor too."""


@pytest.fixture
def smaller(copied: Copied) -> Copied:
    changes = {
        "ROUNDS, EVERY = 60, 10": "ROUNDS, EVERY = 4, 4",
        "COHORT, BATCH = 10, 20": "COHORT, BATCH = 3, 20",
        "WRITERS, UNSEEN = 539, 10_000": "WRITERS, UNSEEN = 12, 1_000",
    }
    copied.change("setting.py", changes)
    return copied


@pytest.mark.parametrize(
    ("script", "framework"),
    [
        ("torch_cnn.py", "torch"),
        pytest.param("jax_cnn.py", "jax", marks=pytest.mark.thorough),
        ("own_client.py", "jax"),
    ],
)
def test_each_version_learns_and_says_how_well_and_how_long(
    smaller: Copied, real_data: Path, script: str, framework: str
) -> None:
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    *_, before, after, time = smaller.printed(script, HANSA_DATA=str(real_data), **ONE_THREAD).splitlines()
    assert before.split()[:2] == ["0", "federated"]
    assert after.split()[:2] == ["4", "federated"]
    assert float(before.split()[-1]) < 0.25
    assert float(after.split()[-1]) > 0.4  # guessing is right once in ten times
    assert re.fullmatch(r"training took [\d.]+ s, the first round [\d.]+ s; [\d.]+ rounds a second", time)


@pytest.mark.thorough
def test_writers_are_clients_of_their_own_and_a_few_of_them_train_in_a_round(smaller: Copied, real_data: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    document = smaller.document("--fast", file="torch_cnn.py", HANSA_DATA=str(real_data), **ONE_THREAD)
    history = hansa.History.from_json(document)
    cohorts = [set(entry.outcomes) for entry in history.entries if entry.work == "train"]
    assert [len(cohort) for cohort in cohorts] == [3] * 4
    assert len(set.union(*cohorts)) > 3
    assert all(client.startswith("writer-") for cohort in cohorts for client in cohort)
    sizes = {outcome.weight for e in history.entries if e.work == "train" for outcome in e.outcomes.values()}
    assert len(sizes) > 2  # nobody dealt these digits out
    assert [set(entry.outcomes) for entry in history.evaluations()] == [{"newcomers"}] * 2
    assert history.mode == "fast"
