"""What this machine has, whatever its system: processors and memory that this process may use.

Whatever only some systems have is asked for here, and there is another way, or an honest 0. This file must not know what the
machine is for.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMORY_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
"""Where Linux says what a container may take: control groups of version 2 and 1."""

_NO_LIMIT = 1 << 60
"""Bytes: a control group without a limit says something beyond, or "max"."""


def cores() -> int:
    """The processors that this process may run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory that this machine, or the container that this is, has; 0 where the system does not say."""
    found = _of_windows() if sys.platform == "win32" else _of_posix()
    limits = [limit for name in _MEMORY_LIMITS if (limit := _limit(_CGROUPS / name))]
    return min([found, *limits]) if found else 0


def _of_posix() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that has no such function, or no such name
        return 0


def _limit(file: Path) -> int:
    try:
        limit = int(file.read_text())
    except (OSError, ValueError):
        return 0
    return limit if 0 < limit < _NO_LIMIT else 0


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    )


def _of_windows() -> int:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel = getattr(getattr(ctypes, "windll", None), "kernel32", None)
    if kernel is None or not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return 0
    return int(status.total)
