"""Timing several contestants in turn, so that a machine that slows down slows them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timed:
    """Seconds of one contestant over the counted turns."""

    median: float
    fastest: float
    slowest: float


def in_turn(contestants: Mapping[str, Callable[[], object]], *, turns: int, warmup: int = 2) -> dict[str, Timed]:
    """Run each contestant once a turn, and time it; the first turns are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warmup + turns):
        for name, contestant in contestants.items():
            began = time.perf_counter()
            contestant()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - began)
    return {name: Timed(statistics.median(each), min(each), max(each)) for name, each in seconds.items()}


def compared(results: Mapping[str, Timed], floor: str) -> list[dict[str, Any]]:
    """A row for each contestant: milliseconds, and the ratio of its median to the floor's."""
    return [
        {
            "name": name,
            "median_ms": round(timed.median * 1e3, 3),
            "fastest_ms": round(timed.fastest * 1e3, 3),
            "slowest_ms": round(timed.slowest * 1e3, 3),
            "ratio": round(timed.median / results[floor].median, 2),
        }
        for name, timed in results.items()
    ]
