"""A few kills at random times, of whoever it hits: the short form of `python -m benchmarks.kills`."""

from __future__ import annotations

import runpy
from pathlib import Path

KILLS = Path(__file__).parents[3] / "benchmarks" / "kills.py"


def test_random_kills_change_no_bit(tmp_path: Path) -> None:
    tally = runpy.run_path(str(KILLS))["soak"](tmp_path / "federation", kills=6, seed=3, at_once=6)
    assert tally.failures == []
    assert tally.kills.total() == 6
