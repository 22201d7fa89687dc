"""The benchmark of a virtual day, for some minutes of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`benchmarks` is no part of the installed package."""
    monkeypatch.syspath_prepend(str(ROOT))
    yield importlib.import_module("benchmarks.virtual_day")
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def test_some_minutes_of_a_day_are_the_same_whenever_they_are_repeated(day: Any) -> None:
    for algorithm in day.algorithms().values():
        *_, history = day.day(algorithm, 0.15)
        assert sum(entry.seconds for entry in history.entries) >= 0.15 * 3600
        assert history.rounds > 0
        *_, again = day.day(algorithm, 0.15)
        assert day.digest(again) == day.digest(history)


def test_the_table_tells_of_each_algorithm(day: Any) -> None:
    rows = day.run(0.05)
    assert [row["algorithm"] for row in rows] == list(day.algorithms())
    for row in rows:
        assert 0 < row["computed"] <= row["visits"]
