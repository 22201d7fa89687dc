"""The C library's heap, told to keep what is freed: training allocates the same large arrays again and again.

Otherwise glibc returns each to the system and gets it back empty, page by page, which takes longer than to fill it.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""glibc's numbers for `mallopt`, from its malloc.h."""


def keep_heap() -> None:
    """Let this process keep up to a gigabyte of what it frees; does nothing where the C library is not glibc."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return
    library.mallopt(_MMAP_THRESHOLD, 1 << 30)
    library.mallopt(_TRIM_THRESHOLD, 1 << 30)
    library.mallopt(_TOP_PAD, 64 << 20)
