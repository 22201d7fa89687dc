"""Ratios of contestants: round by round, because rounds differ in their cohorts, and by their median."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bar:
    """What a ratio is held against.

    Attributes:
        what: is measured.
        against: by what it is divided; of several, the one with the least median is taken.
        most: what the median may be; None where it is only reported.
        least: or what it must be.
    """

    what: str
    against: Sequence[str]
    most: float | None = None
    least: float | None = None


@dataclass(frozen=True)
class Ratio:
    """A ratio of one contestant's seconds to another's, over the rounds that both ran."""

    what: str
    against: str
    rounds: tuple[float, ...]
    bar: str
    reached: bool | None

    def to_json(self) -> dict[str, Any]:
        """A row."""
        return {
            "what": self.what,
            "against": self.against,
            "median": round(statistics.median(self.rounds), 3),
            "lowest": round(min(self.rounds), 3),
            "highest": round(max(self.rounds), 3),
            "bar": self.bar,
            "reached": "" if self.reached is None else "yes" if self.reached else "NO",
        }


def ratio(bar: Bar, seconds: Mapping[str, Sequence[float]]) -> Ratio | None:
    """How a bar is met; None where one of its contestants did not run."""
    there = [name for name in bar.against if seconds.get(name)]
    if not there or not seconds.get(bar.what):
        return None
    fastest = min(there, key=lambda name: statistics.median(seconds[name]))
    rounds = tuple(a / b for a, b in zip(seconds[bar.what], seconds[fastest], strict=False))
    median = statistics.median(rounds)
    if bar.most is not None:
        return Ratio(bar.what, fastest, rounds, f"≤ {bar.most:g}", median <= bar.most)
    if bar.least is not None:
        return Ratio(bar.what, fastest, rounds, f"≥ {bar.least:g}", median >= bar.least)
    return Ratio(bar.what, fastest, rounds, "", None)
