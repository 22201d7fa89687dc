"""The lifeline: a pipe that carries nothing and whose end in the parent closes when the parent ends, however it ends.

This file must not know what the processes do.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import threading

ORPHANED = 73
"""Exit status of a process whose parent was gone before it had begun."""


def tie(end: int) -> None:
    """End this process, and all that is in its process group, when the other end of a pipe is closed.

    The kernel does it where it can, even to a process that is stuck.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(end, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(end, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(end, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    else:
        threading.Thread(target=_wait, args=(end,), daemon=True).start()
    if select.select([end], [], [], 0)[0]:
        os._exit(ORPHANED)


def _wait(end: int) -> None:
    os.read(end, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)
