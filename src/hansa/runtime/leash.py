"""A leash: a process that ends, in order, when the one that started it does, however that ended.

The starter holds one end of a pipe, and the process has the other as its standard input; the system closes the first when the
starter is gone, even when it was killed. This file must not know what the processes do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping

VARIABLE = "HANSA_LEASH"
"""Set in the environment of a process on a leash."""


class Leash:
    """The starter's end.

    Attributes:
        stdin: what a process on it has as standard input.
    """

    def __init__(self) -> None:
        self.stdin, self._held = os.pipe()

    @staticmethod
    def environment(variables: Mapping[str, str]) -> dict[str, str]:
        """The variables of a process on it, besides these."""
        return {**variables, VARIABLE: "1"}

    def close(self) -> None:
        """Let go: whoever is still on it ends."""
        os.close(self.stdin)
        os.close(self._held)


def follow(end: Callable[[], None]) -> None:
    """In a process on a leash: call `end` once when the starter has gone. Elsewhere it does nothing."""
    if os.environ.pop(VARIABLE, None) is None:
        return
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def wait() -> None:
        while os.read(stdin, 4096):
            pass
        with contextlib.suppress(RuntimeError):  # it has ended meanwhile
            loop.call_soon_threadsafe(end)

    # In a thread, because not every system can watch a pipe beside sockets.
    threading.Thread(target=wait, name="hansa-leash", daemon=True).start()
