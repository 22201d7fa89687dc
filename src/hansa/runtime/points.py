"""Named points at which a test can have a process killed: the moments between a thing done and the same thing known.

Nothing happens at a point unless the variable `HANSA_POINT` names a file and that file names the point. This file must not
know what its points mean, nor who passes them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "HANSA_POINT"
"""The environment variable that names the file; the file holds `NAME:N`: strike when NAME is passed for the Nth time."""


def passes(name: str) -> None:
    """Say that this process passes a point; the process kills itself with SIGKILL if that is what the file wants.

    The file counts down, over all processes that see it, and is gone once it has struck: a process that is started again
    passes the same point unharmed.

    Args:
        name: of the point, "process: what was just done, or what was not done yet".
    """
    place = os.environ.get(VARIABLE)
    if not place:
        return
    armed = Path(place)
    try:
        wanted, _, left = armed.read_text().rpartition(":")
        if wanted != name:
            return
        if int(left) > 1:
            armed.write_text(f"{wanted}:{int(left) - 1}")
            return
        armed.unlink()
    except FileNotFoundError:  # nothing is wanted, or another process was there first
        return
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows ends a process at once by either


def inherited() -> Mapping[str, str]:
    """What a child process is given in its environment, so that it has points too: nothing, unless this one has."""
    place = os.environ.get(VARIABLE)
    return {VARIABLE: place} if place else {}
