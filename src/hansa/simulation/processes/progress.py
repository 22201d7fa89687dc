"""How far a worker is, seen by its parent even when it is dead: a few numbers in shared memory.

This file must not know what is computed.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

SIZE = 64


class At(NamedTuple):
    """Where a worker is.

    Attributes:
        chunk: the number of the chunk that it has begun.
        begun: how many visits of it were begun; several at once where an engine computes them together.
        ended: how many are over.
        since: when the last was begun or ended, in seconds of the machine's monotonic clock.
    """

    chunk: int
    begun: int
    ended: int
    since: float


class Progress:
    """The numbers, written by the worker and read by its parent."""

    def __init__(self, memory: memoryview) -> None:
        self._numbers: np.ndarray[Any, np.dtype[np.float64]] = np.ndarray((4,), np.float64, memory)

    def chunk(self, number: int) -> None:
        """A chunk begins."""
        self._numbers[1:3] = 0
        self._numbers[0] = number

    def begin(self) -> None:
        """A visit begins."""
        self._numbers[3] = time.monotonic()
        self._numbers[1] += 1

    def end(self) -> None:
        """The oldest visit that was begun is over."""
        self._numbers[3] = time.monotonic()
        self._numbers[2] += 1

    @property
    def at(self) -> At:
        """Where the worker is."""
        chunk, begun, ended, since = self._numbers.tolist()
        return At(int(chunk), int(begun), int(ended), since)
