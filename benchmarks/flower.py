"""What a client's part in a round costs besides its own work: our `start_simulation` against Flower's own, in turn.

The variable FLOWER_PYTHON names an interpreter with `flwr[simulation]`, in an environment of its own: its requirements clash
with ours. Both run the same program, which differs in its import line; what is timed are its rounds, not how it starts and
stops.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.federation.rows import at_most, row
from benchmarks.flower_program import CLIENTS

PROGRAM = Path(__file__).parent / "flower_program.py"
VARIABLE = "FLOWER_PYTHON"

TURNS = 5


def run() -> list[dict[str, Any]]:
    """Milliseconds a client and round of each, and the ratio of each turn's medians."""
    theirs = os.environ.get(VARIABLE)
    if not theirs:
        raise SystemExit(
            f"{VARIABLE} names no interpreter: make one with pip install 'flwr[simulation]', and say where"
        )
    ours_ms, theirs_ms, ratios = [], [], []
    for _ in range(TURNS):
        ours, flowers = _turn(sys.executable, "hansa.interop.flower"), _turn(theirs, "flwr")
        ours_ms += ours
        theirs_ms += flowers
        ratios.append(statistics.median(ours) / statistics.median(flowers))
    return [
        row("a client's part in a round, Hansa", ours_ms, "ms"),
        row("a client's part in a round, Flower", theirs_ms, "ms"),
        at_most("Hansa by Flower", ratios, "×", 0.1),
    ]


def _turn(python: str, module: str) -> list[float]:
    """Milliseconds a client, for each round of one run of the program."""
    ended = subprocess.run([python, str(PROGRAM), module], capture_output=True, encoding="utf-8", check=False)
    said = [line.removeprefix("seconds ") for line in ended.stdout.splitlines() if line.startswith("seconds ")]
    if not said:
        raise SystemExit(f"{python} could not run the program:\n{ended.stderr[-2000:]}")
    return [1e3 * seconds / CLIENTS for seconds in json.loads(said[0])]
