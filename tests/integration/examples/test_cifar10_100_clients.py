"""examples/cifar10_100_clients: a hundred clients, alike or unlike, of whom a few at a time learn."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
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
    changes = {"ROUNDS, EVERY = 80, 10": "ROUNDS, EVERY = 6, 6", "100, 15, 50": "100, 4, 50"}
    copied.change("experiment.py", {**changes, "test=test)": "test=test.take(1000))"})
    return copied


def test_a_hundred_clients_learn_four_at_a_time(smaller: Copied, real_data: Path) -> None:
    *_, before, after, time = smaller.printed("experiment.py", HANSA_DATA=str(real_data), **ONE_THREAD).splitlines()
    assert before.split()[:2] == ["0", "federated"]
    assert after.split()[:2] == ["6", "federated"]
    assert float(after.split()[-1]) > 0.2  # guessing is right once in ten times
    assert re.fullmatch(r"training took [\d.]+ s, the first round [\d.]+ s; [\d.]+ rounds a second", time)


def test_unlike_clients_hold_unlike_numbers(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    random = np.random.default_rng(0)
    pictures = hansa.ClientDataset({"x": random.random((5000, 3, 2, 2)), "y": random.integers(0, 10, 5000)})
    monkeypatch.setattr(hansa, "load_dataset", lambda name: SimpleNamespace(train=pictures, test=pictures.take(10)))
    sizes = {}
    for alpha in ("0.0", "0.3"):
        copied.change("experiment.py", {"ALPHA = 0.0": f"ALPHA = {alpha}"})
        data = hansa.load_experiment(copied.folder / "experiment.py").data()
        assert list(data.test) == ["central"]
        sizes[alpha] = sorted(data.sizes().values())
    assert sizes["0.0"] == [50] * 100
    assert len(sizes["0.3"]) == 100
    assert sizes["0.3"][-1] - sizes["0.3"][0] > 20
