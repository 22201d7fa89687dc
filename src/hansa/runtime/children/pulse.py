"""A child's pulse: whether it still gets on with its work, as it tells or as the system sees it compute.

This file must not know what the work is, or what becomes of a child that does not get on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

IDLE = 0.01
"""Seconds of computing in a second of time, from which on a child counts as at work."""

LOOKS = 8
"""So many looks are taken in the time that a child may do nothing."""

_PROC = Path("/proc")


class Pulse:
    """When a child last got on.

    Args:
        stall: seconds for which it may do nothing.
        computed: how many seconds it has computed so far; None where the system does not tell.
        clock: seconds, from any origin.
    """

    def __init__(
        self, stall: float, computed: Callable[[], float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stall, self._computed, self._clock = stall, computed, clock
        self._last = self._looked = clock()
        self._used = computed()

    @property
    def look(self) -> float:
        """Seconds until the next look."""
        return self._stall / LOOKS

    def beats(self) -> None:
        """It has told of a step."""
        self._last = self._clock()

    def stopped(self) -> bool:
        """Look: whether it has done nothing for too long. A child of which the system tells nothing is believed."""
        now, used = self._clock(), self._computed()
        if used is None or self._used is None or used - self._used >= IDLE * (now - self._looked):
            self._last = now
        self._looked, self._used = now, used
        return now - self._last >= self._stall


def computed_by(pid: int) -> float | None:
    """Seconds that a process and all its descendants have computed so far; None where the system does not tell.

    Of those that have ended, and whose parent has taken note, their parent knows.
    """
    seconds, told = _own(pid), False
    for task in (_PROC / str(pid) / "task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        told = True
        if seconds is not None:
            seconds += sum(computed_by(int(child)) or 0.0 for child in children)
    return seconds if told else None  # a kernel may be built so that it does not say whose children are whose


def _own(pid: int) -> float | None:
    """Of one process, and of its children that have ended."""
    try:
        line = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()  # the name, in brackets, may hold anything
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
