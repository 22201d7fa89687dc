"""The executor that moves: it begins in this process, and goes on in several once that is worth their start.

This file must not know what the two executors are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hansa.core.ask import Ask, Reply
from hansa.core.population import Population
from hansa.errors import HansaError
from hansa.simulation.visits import ExecutorState

if TYPE_CHECKING:
    from hansa.simulation.choice import Simulator

WORTH = 3.0
"""Seconds that asks must have taken before others are started: about what starting them costs."""

LEAST = 5e-4
"""Seconds of a client's work that are worth sending it to another process."""

HEAVY = 32 << 20
"""Bytes of a broadcast beyond which every further process costs more memory than it is worth."""

JUDGED = 3
"""After so many asks of one work it is seen whether they are quicker."""


class Automatic:
    """Moves from one executor to another, and back where that was no gain. Which one computes changes no bit that is promised.

    Args:
        here: where it begins.
        there: opens the other one.
        workers: how many clients the other one computes at once.
    """

    def __init__(self, here: Simulator, there: Callable[[], Simulator], workers: int) -> None:
        self._now, self._open, self._workers = here, there, workers
        self._here: Simulator | None = None
        self._spent, self._why = 0.0, ""
        self._before: dict[str, float] = {}
        self._after: dict[str, list[float]] = {}

    @property
    def answered(self) -> Callable[[int, int], None]:
        """Is told how many clients of the present ask have answered, and of how many."""
        return self._now.answered

    @answered.setter
    def answered(self, told: Callable[[int, int], None]) -> None:
        """Tell somebody."""
        self._now.answered = told

    @property
    def chosen(self) -> Mapping[str, str]:
        """How it computes, and why not in several processes."""
        return {**self._now.chosen, **({"processes": self._why} if self._why else {})}

    @property
    def state(self) -> ExecutorState:
        """Where it stands between two asks."""
        return self._now.state

    def restore(self, state: ExecutorState) -> None:
        """Go on from there."""
        self._now.restore(state)

    def seconds(self) -> float:
        """What time it is, from any origin."""
        return self._now.seconds()

    def population(self) -> Population:
        """Everyone who is not in flight."""
        return self._now.population()

    def close(self) -> None:
        """Close both."""
        self._now.close()
        if self._here is not None:
            self._here.close()

    def execute(self, ask: Ask) -> Reply:
        """Carry one ask out."""
        began = time.perf_counter()
        reply = self._now.execute(ask)
        self._judge(ask, time.perf_counter() - began)
        return reply

    def _judge(self, ask: Ask, seconds: float) -> None:
        """Move where that is worth it."""
        each = seconds / max(1, len(ask.cohort))
        if self._here is None:
            self._before[ask.work] = each
            self._spent += seconds
            worth = self._spent > WORTH and each > LEAST and len(ask.cohort) >= self._workers
            if worth and not self._why and not _is_heavy(ask):
                self._go()
        elif not self._why:
            times = self._after.setdefault(ask.work, [])
            times.append(each)
            if len(times) == JUDGED and ask.work in self._before and min(times[1:]) > self._before[ask.work]:
                self._return()

    def _go(self) -> None:
        try:
            there = self._open()
        except HansaError as problem:
            self._why = problem.what
            return
        self._here = self._handed(self._now, there)

    def _return(self) -> None:
        assert self._here is not None  # noqa: S101 - it went before it returns
        self._why = "they were no quicker"
        self._handed(self._now, self._here).close()

    def _handed(self, giver: Simulator, taker: Simulator) -> Simulator:
        """Let another executor go on; returns the one that it took over from."""
        taker.restore(giver.state)
        taker.answered = giver.answered
        self._now = taker
        return giver


def _is_heavy(ask: Ask) -> bool:
    return sum(leaf.nbytes for leaf in ask.broadcast.values()) > HEAVY
