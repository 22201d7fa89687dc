"""Fake time, and the processes that live in it: what was planned by one that crashed in between does not happen."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Clock:
    """What happens when. `now` is in seconds; of two things at the same time the one planned first comes first."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.happened = 0
        self._planned: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, delay: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something after so many seconds."""
        self._count += 1
        heapq.heappush(self._planned, (self.now + delay, self._count, act, arguments))

    def step(self) -> None:
        """Let the next thing happen."""
        self.now, _, act, arguments = heapq.heappop(self._planned)
        self.happened += 1
        act(*arguments)


class Process:
    """Something that can crash and be started again.

    Attributes:
        up: whether it runs.
        life: which of its lives this is.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.up = False
        self.life = 0

    @property
    def alive(self) -> bool:
        """Whether it runs; asked after something in which it may have crashed."""
        return self.up

    def later(self, delay: float, act: Callable[..., None], *arguments: Any) -> None:
        """Do something after so many seconds, in this life only."""
        self.clock.after(delay, self._if_alive, self.life, act, arguments)

    def crash(self) -> None:
        """Memory is lost, and what was planned."""
        self.up = False
        self.life += 1

    def _if_alive(self, life: int, act: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self.up and self.life == life:
            act(*arguments)
