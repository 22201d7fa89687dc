"""How a child ended, in words for people. It must not know how that was found out."""

from __future__ import annotations

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
    signals.SIGKILL: "out of memory, or somebody killed it",
    signals.SIGSEGV: "native code went wrong",
    signals.SIGBUS: "native code went wrong, or a file it had mapped is gone",
    signals.SIGILL: "native code for another processor",
    signals.SIGFPE: "native code divided by zero",
    signals.SIGABRT: "native code gave up",
    signals.SIGXFSZ: "it wrote a file beyond its limit",
}
_FAILED_ALLOCATION = (signals.SIGSEGV, signals.SIGABRT)


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
        return cls(status, None, _by_itself(status, limits, raised), raised)


def _by_itself(status: int, limits: Limits, raised: Mapping[str, Any] | None) -> str:
    if status == OUT_OF_MEMORY:
        return f"ran out of {_memory(limits)}"
    if status == RAISED and raised is not None:
        return f"ended with an exception: {trace.brief(raised)}"
    if status == ORPHANED:
        return "found its parent gone"
    return f"ended by itself with exit status {status}" if status else "ended as it should"


def _by_signal(number: int, limits: Limits) -> str:
    said = _SIGNALS.get(number, "")  # type: ignore[call-overload]  # a Signals is an int, and found by one
    if number in _FAILED_ALLOCATION and limits.memory is not None:
        said += f", perhaps for lack of memory: it had a limit of {size_text(limits.memory)}"
    try:
        name = signals.Signals(number).name
    except ValueError:
        name = "a real-time signal"
    return f"killed by signal {number} ({said or name})"


def _memory(limits: Limits) -> str:
    return "memory" if limits.memory is None else f"its memory limit of {size_text(limits.memory)}"
