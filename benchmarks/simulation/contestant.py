"""How a contestant is spoken with: a process that runs one round for each line that it reads, and says how long it took.

It knows what it will compute with before the first line; whatever it builds for that (processes, compiled code) belongs to
its first round. This file must know nothing but the standard library: peers run it with interpreters of their own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Rounds = Callable[[int, list[int]], float]
"""(number of the round from 1, its cohort) -> the mean loss before each step, NaN where there is none."""


def serve(begin: Callable[[], Rounds]) -> None:
    """Answer every line {"round": n, "cohort": [...]} by {"seconds": s, "loss": l}; `begin` is part of the first round."""
    say, rounds = _voice(), None
    say({"ready": True})
    for asked in lines():
        began = time.perf_counter()
        rounds = rounds or begin()
        loss = rounds(asked["round"], asked["cohort"])
        say({"seconds": time.perf_counter() - began, "loss": loss})


class Turns:
    """The same for frameworks that own the loop: they call `over` at the end of each round, and wait there for the next.

    `first` waits for the first line; afterwards `asked` is the present one.
    """

    def __init__(self) -> None:
        self._say, self._lines = _voice(), lines()
        self._began = 0.0
        self.asked: dict[str, Any] = {}

    def first(self) -> None:
        """Wait for the first line; ends the process where there is none."""
        self._say({"ready": True})
        if not self._next():
            sys.exit()

    def over(self, loss: float) -> bool:
        """A round is over; True once the next may begin, False where there is none."""
        try:
            self._say({"seconds": time.perf_counter() - self._began, "loss": loss})
        except OSError:  # nobody listens any more
            return False
        return self._next()

    def _next(self) -> bool:
        self.asked = next(self._lines, {})
        self._began = time.perf_counter()
        return bool(self.asked)


def lines() -> Iterator[dict[str, Any]]:
    """What is asked, until the driver hangs up."""
    for line in iter(sys.stdin.readline, ""):
        yield json.loads(line)


def _voice() -> Callable[[dict[str, Any]], None]:
    """What prints an answer; all else that the process prints goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    return say
