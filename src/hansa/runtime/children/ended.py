"""How a child ended, in words for people. It must not know how that was found out."""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hansa.runtime.children import trace
from hansa.runtime.children.hansa_child.confine import size_text
from hansa.runtime.children.hansa_child.main import OUT_OF_MEMORY, RAISED
from hansa.runtime.children.hansa_child.warden import ORPHANED
from hansa.runtime.children.limits import Limits

_SIGNALS = {
    "SIGKILL": "out of memory, or somebody killed it",
    "SIGSEGV": "native code went wrong",
    "SIGBUS": "native code went wrong, or a file it had mapped is gone",
    "SIGILL": "native code for another processor",
    "SIGFPE": "native code divided by zero",
    "SIGABRT": "native code gave up",
    "SIGXFSZ": "it wrote a file beyond its limit",
}
"""By name, because their numbers, and whether there are such, depend on the system."""
_FAILED_ALLOCATION = ("SIGSEGV", "SIGABRT")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit status, where it ended by itself; else None.
        signal: the number of the signal that ended it; else None.
        text: for people, following the word "it"; without values of anybody's data.
        trace: of the exception that ended it, what may leave (see `trace`); else None.
    """

    code: int | None
    signal: int | None
    text: str
    trace: Mapping[str, Any] | None = None

    @property
    def well(self) -> bool:
        """Whether its function returned."""
        return self.code == 0

    @classmethod
    def of(cls, status: int, limits: Limits, raised: Mapping[str, Any] | None, why: str) -> Self:
        """From what is known.

        Args:
            status: the exit status, or minus the signal.
            limits: which it ran under.
            raised: the exception that it reported.
            why: why its parent ended it; empty where it did not.
        """
        if status < 0:
            return cls(None, -status, why or _by_signal(-status, limits), raised)
        ended_by_parent = why if os.name == "nt" else ""  # Windows has no signals: whoever is ended says 1
        return cls(status, None, ended_by_parent or _by_itself(status, limits, raised), raised)


def _by_itself(status: int, limits: Limits, raised: Mapping[str, Any] | None) -> str:
    if status == OUT_OF_MEMORY:
        return f"ran out of {_memory(limits)}"
    if status == RAISED and raised is not None:
        return f"ended with an exception: {trace.brief(raised)}"
    if status == ORPHANED:
        return "found its parent gone"
    return f"ended by itself with exit status {status}" if status else "ended as it should"


def _by_signal(number: int, limits: Limits) -> str:
    try:
        name = signals.Signals(number).name
    except ValueError:
        name = "a real-time signal"
    said = _SIGNALS.get(name, "")
    if name in _FAILED_ALLOCATION and limits.memory is not None:
        said += f", perhaps for lack of memory: it had a limit of {size_text(limits.memory)}"
    return f"killed by signal {number} ({said or name})"


def _memory(limits: Limits) -> str:
    return "memory" if limits.memory is None else f"its memory limit of {size_text(limits.memory)}"
