"""Summing updates: Hansa's exact sum against what one would write, for an update of 5 million float32."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.timing import compared, in_turn
from hansa.rules.exact import ExactSum, RoundedSum

SIZE, UPDATES, TURNS = 5_000_000, 8, 15
WEIGHT = np.float64(117)
FLOOR = "naive: a += x * w, a float32, w a NumPy float64"

Values = np.ndarray[Any, np.dtype[np.float32]]


def run() -> list[dict[str, Any]]:
    """Rows for updates whose values have one scale, and for ones where a coordinate's scale differs from client to client."""
    generator = np.random.default_rng(0)

    def update(spread: float) -> Values:
        scale = 1e-3 * np.exp(spread * generator.standard_normal(SIZE)) if spread else 1e-3
        return (scale * generator.standard_normal(SIZE)).astype(np.float32)

    rows = []
    for kind, spread in (("one scale", 0.0), ("many scales", 4.0)):
        rows += [{"values": kind, **row} for row in _compared([update(spread) for _ in range(UPDATES)])]
    return rows


def _compared(updates: list[Values]) -> list[dict[str, Any]]:
    single, double = np.zeros(SIZE, np.float32), np.zeros(SIZE)
    rounded, exact = RoundedSum(SIZE, single.dtype), ExactSum(SIZE)

    def naive(x: Values) -> None:
        nonlocal single
        single += x * WEIGHT

    def naive32(x: Values) -> None:
        nonlocal single
        single += x * np.float32(WEIGHT)

    def naive64(x: Values) -> None:
        nonlocal double
        double += x * WEIGHT

    contestants: dict[str, Callable[[Values], None]] = {
        FLOOR: naive,
        "naive in float32 throughout": naive32,
        "naive in float64 throughout": naive64,
        "Hansa, float32 in blocks": lambda x: rounded.add(x, float(WEIGHT)),
        "Hansa, exact": lambda x: exact.add(x, float(WEIGHT)),
    }
    return compared(
        in_turn({name: _fed(add, updates) for name, add in contestants.items()}, turns=TURNS, warmup=UPDATES), FLOOR
    )


def _fed(add: Callable[[Values], None], updates: list[Values]) -> Callable[[], None]:
    """One call, one update, round and round."""
    endless = itertools.cycle(updates)
    return lambda: add(next(endless))
