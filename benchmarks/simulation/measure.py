"""A benchmark of simulation, from the line-up to the figures: every contestant alone, then all of them in turn."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.simulation.lineup import LINEUPS, Lineup
from benchmarks.simulation.racing import Alone, Contestant, Failed, Raced, alone, in_turn
from benchmarks.simulation.ratios import Ratio, ratio
from benchmarks.simulation.workloads import PLAIN

TURNS, WARMUP = 7, 3
BASE, LARGE, WORKERS = "Hansa, fast, 0MB", "Hansa, fast, 400MB", 2


@dataclass(frozen=True)
class Figures:
    """Of one contestant; None and a reason where it did not run.

    Attributes:
        contestant: whose.
        alone: its first rounds, with nobody else running.
        raced: its rounds among the others'.
        apart: the largest difference of a round's loss to the first contestant's that has one, by that.
    """

    contestant: Contestant
    alone: Alone | None
    raced: Raced
    apart: float

    def to_json(self) -> dict[str, Any]:
        """A row: seconds of a steady round, of the start and of the first round, and 10^6 bytes."""
        seconds, first = self.raced.seconds or [math.nan], self.alone
        return {
            "name": self.contestant.name,
            "median": _short(statistics.median(seconds)),
            "min": _short(min(seconds)),
            "max": _short(max(seconds)),
            "start": _short(first.start if first else math.nan),
            "first_round": _short(first.first if first else math.nan),
            "peak_mb": round(first.peak_mb) if first else None,
            "loss_apart": f"{self.apart:.0e}",
            "failed": self.raced.failed,
        }


@dataclass(frozen=True)
class Measured:
    """All figures of one benchmark."""

    figures: Sequence[Figures]
    ratios: Sequence[Ratio]
    memory: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        """By role: `ours`, `floors`, `peers`; and the ratios."""
        roles: dict[str, Any] = {"ours": [], "floors": [], "peers": []}
        for each in self.figures:
            roles[each.contestant.role].append(each.to_json())
        return {**roles, "ratios": [*(each.to_json() for each in self.ratios), *self.memory]}

    def tables(self) -> list[list[dict[str, Any]]]:
        """For people: the contestants, and the ratios."""
        found = self.to_json()
        rows = [{"": role, **row} for role in ("ours", "floors", "peers") for row in found[role]]
        for row in rows:
            row["failed"] = row["failed"].replace("\n", " ")[-200:]
        return [table for table in (rows, found["ratios"]) if table]


def run(name: str, turns: int = TURNS) -> Measured:
    """One of `LINEUPS`."""
    with tempfile.TemporaryDirectory(prefix="hansa-bench-") as folder:
        return measured(LINEUPS[name](Path(folder)), turns)


def measured(lineup: Lineup, turns: int) -> Measured:
    """The figures of a line-up."""
    first = {contestant.name: _alone(contestant) for contestant in lineup.contestants}
    raced = in_turn([each for each in lineup.contestants if first[each.name][0] is not None], turns, WARMUP)
    raced |= {name: Raced(failed=why) for name, (figures, why) in first.items() if figures is None}
    norm: Sequence[float] = next((each.losses for each in raced.values() if _has_loss(each)), ())
    figures = [
        Figures(each, first[each.name][0], raced[each.name], _apart(raced[each.name].losses, norm))
        for each in lineup.contestants
    ]
    seconds = {name: each.seconds for name, each in raced.items()}
    ratios = [found for bar in lineup.bars if (found := ratio(bar, seconds)) is not None]
    return Measured(figures, ratios, _models(figures))


def _alone(contestant: Contestant) -> tuple[Alone | None, str]:
    try:
        return alone(contestant), ""
    except Failed as failure:
        return None, str(failure)


def _models(figures: Sequence[Figures]) -> list[dict[str, Any]]:
    """Of the broadcast: how many models the peak memory of the largest is, beyond that of an empty one."""
    peaks = {each.contestant.name: each.alone.peak_mb for each in figures if each.alone is not None}
    if BASE not in peaks or LARGE not in peaks:
        return []
    models = (peaks[LARGE] - peaks[BASE]) / (PLAIN["broadcast-400MB"].floats * 4 / 1e6)
    most = WORKERS + 3
    row = {"what": f"peak memory, {LARGE}", "against": "one model", "median": round(models, 2)}
    return [row | {"lowest": "", "highest": "", "bar": f"≤ {most}", "reached": "yes" if models <= most else "NO"}]


def _has_loss(raced: Raced) -> bool:
    return bool(raced.losses) and not math.isnan(raced.losses[0])


def _apart(losses: Sequence[float], norm: Sequence[float]) -> float:
    both = [abs(a - b) / abs(b) for a, b in zip(losses, norm, strict=False)]
    return max(both, default=math.nan)


def _short(seconds: float) -> float | None:
    return None if math.isnan(seconds) else float(f"{seconds:.4g}")
