"""How a process ended, in words that follow "its worker process". This file must not know what it did."""

from __future__ import annotations

import signal

_PERHAPS = {
    signal.SIGKILL: ", perhaps for want of memory",
    signal.SIGSEGV: ": native code went wrong",
    signal.SIGBUS: ": native code went wrong, or there was no room for shared memory",
    signal.SIGABRT: ": native code gave up",
    signal.SIGILL: ": native code for another processor",
    signal.SIGFPE: ": native code divided by zero",
}


def in_words(status: int) -> str:
    """How it ended.

    Args:
        status: its exit status, or minus the number of the signal that killed it.
    """
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        known = signal.Signals(-status)
    except ValueError:
        return f"was killed by signal {-status}"
    return f"was killed by signal {-status} ({known.name}){_PERHAPS.get(known, '')}"


def not_within(seconds: float) -> str:
    """That it took too long, and was ended."""
    return f"did not finish within {seconds:g} s"
