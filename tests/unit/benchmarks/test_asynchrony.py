"""The table of time to accuracy: ratios seed by seed, against the synchronous one of the same concurrency."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The benchmark's module; `benchmarks` is no part of the installed package."""
    monkeypatch.syspath_prepend(str(ROOT))
    yield importlib.import_module("benchmarks.asynchrony.virtual")
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def found(virtual: Any, *seconds: list[float]) -> dict[str, list[Any]]:
    """What the contestants took, in the line-up's order."""
    return {
        each.name: [virtual.Reached(took, 1e6, 10) for took in taken]
        for each, taken in zip(virtual.LINEUP, seconds, strict=True)
    }


def test_a_ratio_is_the_median_of_those_of_single_seeds(virtual: Any) -> None:
    took = found(virtual, [100, 400, 200], [50, 40, 20], [], [])
    shown = virtual.row("skewed", virtual.LINEUP[1], took)
    assert (shown["ratio"], shown["bar"], shown["reached"]) == ("0.100", "≤ 0.25", "yes")
    assert shown["of single seeds"] == "50 40 20"
    assert virtual.row("skewed", virtual.LINEUP[0], took)["ratio"] == "1.000"


@pytest.mark.parametrize(("seconds", "reached"), [(27.4, "yes"), (27.6, "no"), (math.inf, "no")])
def test_what_never_came_there_has_not_reached_the_bar(virtual: Any, seconds: float, reached: str) -> None:
    took = found(virtual, [25], [1], [25], [seconds])
    assert virtual.row("equal", virtual.LINEUP[3], took)["reached"] == reached


def test_everyone_is_measured_after_as_many_updates_and_has_a_bar(virtual: Any) -> None:
    lineup = virtual.LINEUP
    assert {each.every * (each.goal or each.concurrency) / each.concurrency for each in lineup} == {1.0}
    assert all((spread, each.concurrency) in virtual.BARS for spread in ("skewed", "equal") for each in lineup)
    assert {spread for each in lineup for spread in each.rates} == {"skewed", "equal"}
