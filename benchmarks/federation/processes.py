"""A process as the kernel sees it: processor time and resident memory. Linux only."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

EVERY = 0.01
"""Seconds between two samples."""


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has taken, its threads included and its children not."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_family(pid: int) -> float:
    """The same, with the children that it had and that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int, field: str = "VmRSS") -> int:
    """Bytes in memory; with "VmHWM" the most since `forget_peak`, with "RssAnon" those that are no file's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def forget_peak(pid: int) -> None:
    """Let the kernel's record of the most memory begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


class Watched:
    """Samples something over and over while a context lasts, and keeps the most.

    Args:
        sample: gives a number; where it raises OSError (a file or a process was just going) it is asked again.
    """

    def __init__(self, sample: Callable[[], int]) -> None:
        self._sample, self.most, self.samples = sample, 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            try:
                self.most, self.samples = max(self.most, self._sample()), self.samples + 1
            except OSError:
                continue

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
