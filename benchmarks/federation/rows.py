"""Rows of a table: what was measured, its median with the spread, and the bar that it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def row(what: str, values: Sequence[float], unit: str, *, bar: str = "", reached: bool | None = None) -> dict[str, Any]:
    """One measured thing.

    Args:
        what: it is.
        values: of the turns.
        unit: of the values.
        bar: what it should be, in words; empty where it is only the floor of another.
        reached: whether it is.
    """
    return {
        "what": what,
        "median": f"{statistics.median(values):.4g}",
        "lowest": f"{min(values):.4g}",
        "highest": f"{max(values):.4g}",
        "unit": unit,
        "bar": bar,
        "reached": "" if reached is None else "yes" if reached else "NO",
    }


def at_most(what: str, values: Sequence[float], unit: str, most: float) -> dict[str, Any]:
    """One whose median has a ceiling."""
    return row(what, values, unit, bar=f"≤ {most:g}", reached=statistics.median(values) <= most)


def at_least(what: str, values: Sequence[float], unit: str, least: float) -> dict[str, Any]:
    """One whose median has a floor."""
    return row(what, values, unit, bar=f"≥ {least:g}", reached=statistics.median(values) >= least)
