"""The floors without learning: `python -m benchmarks.simulation.floors_plain NAME KIND` is a contestant.

Kinds: "loop", a bare Python loop over the clients that calls the same work as ours with a context of its own (id, round), and
takes the weighted mean;
"memcpy", a copy of the model for each client of the cohort.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.simulation.contestant import Rounds, serve
from benchmarks.simulation.given.adding import AddOne
from benchmarks.simulation.workloads import PLAIN, Plain
from hansa.core.work import ClientContext


def loop(workload: Plain) -> Rounds:
    """The bare loop."""
    model, work = workload.model(), AddOne()

    def round_(number: int, cohort: list[int]) -> float:
        total, weights = {name: np.zeros_like(leaf) for name, leaf in model.items()}, 0.0
        for client in cohort:
            update = work(model, ClientContext(str(client), {}, number))
            weights += update.weight
            for name, leaf in update.tree.items():
                total[name] += leaf * update.weight
        for name, leaf in model.items():
            leaf += total[name] / weights
        return math.nan

    return round_


def memcpy(workload: Plain) -> Rounds:
    """A copy for each client."""
    # Not zeros: all of their pages would be one, and reading them would cost nothing.
    source, sink = (np.full(workload.floats, number, np.float32) for number in (1, 2))

    def round_(_number: int, cohort: list[int]) -> float:
        for _ in cohort:
            np.copyto(sink, source)
        return math.nan

    return round_


KINDS: dict[str, Callable[[Plain], Rounds]] = {"loop": loop, "memcpy": memcpy}

if __name__ == "__main__":
    serve(lambda: KINDS[sys.argv[2]](PLAIN[sys.argv[1]]))
