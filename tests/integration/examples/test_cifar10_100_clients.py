"""examples/cifar10_100_clients: a hundred clients, alike or unlike, of whom a few at a time learn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hansa

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "cifar10_100_clients"

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Threads that wait for each other take many times as long where other tests use the processor too."""


@pytest.fixture
def smaller(copied: Copied, real_data: Path) -> Copied:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    if not (real_data / "cifar10-jpeg").is_dir():
        pytest.skip(f"no CIFAR-10: {real_data} has no folder 'cifar10-jpeg'")
    copied.change("experiment.py", {"ROUNDS, EVERY = 80, 10": "ROUNDS, EVERY = 6, 6", "100, 15, 50": "100, 4, 50"})
    return copied


def test_a_hundred_clients_learn_four_at_a_time(smaller: Copied, real_data: Path) -> None:
    *_, before, after, time = smaller.printed("experiment.py", HANSA_DATA=str(real_data), **ONE_THREAD).splitlines()
    assert before.split()[:2] == ["0", "federated"]
    assert after.split()[:2] == ["6", "federated"]
    assert float(after.split()[-1]) > 0.2  # guessing is right once in ten times
    assert re.fullmatch(r"training took [\d.]+ s, the first round [\d.]+ s; [\d.]+ rounds a second", time)


def test_unlike_clients_hold_unlike_numbers(smaller: Copied, real_data: Path) -> None:
    changes = {"ROUNDS, EVERY = 6, 6": "ROUNDS, EVERY = 1, 1", "ALPHA = 0.0": "ALPHA = 0.3"}
    smaller.change("experiment.py", changes)
    history = hansa.History.from_json(smaller.document("--fast", HANSA_DATA=str(real_data), **ONE_THREAD))
    (trained,) = (entry for entry in history.entries if entry.work == "train")
    sizes = sorted(outcome.weight for outcome in trained.outcomes.values())
    assert len(sizes) == 4
    assert sizes[-1] - sizes[0] > 20  # dealt evenly they would be equal
    assert [set(entry.outcomes) for entry in history.evaluations()] == [{"central"}] * 2
