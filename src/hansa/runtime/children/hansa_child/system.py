"""What not every system has: asked for in this one place, so that a child can be loaded on all of them.

Where something is missing its name is None, and whoever wants it says so in the report of what is held. This file must not know
what it is wanted for.
"""

from __future__ import annotations

import ctypes
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

LINUX = sys.platform == "linux"

pwd: ModuleType | None
resource: ModuleType | None
try:
    import pwd
    import resource
except ImportError:  # Windows
    pwd = resource = None

LIBC: Any = ctypes.CDLL(None, use_errno=True) if LINUX else None


def prctl(option: int, argument: int = 0) -> bool:
    """Whether the kernel agreed; no other than Linux does."""
    if LIBC is None:
        return False
    return bool(LIBC.prctl(option, *(ctypes.c_ulong(each) for each in (argument, 0, 0, 0))) == 0)


def die_when_closed(descriptor: int, status: int) -> None:
    """End this process once the other end of a pipe is closed: its parent holds it, and says nothing on it."""
    from _thread import start_new_thread

    def wait() -> None:
        try:
            while os.read(descriptor, 4096):
                pass
        finally:
            os._exit(status)

    start_new_thread(wait, ())
