"""glibc's malloc, tuned for a process that moves large frames. Measured to decide up to 3 × of a transport's speed.

By default glibc takes blocks of a mebibyte from the system with mmap and gives them back at once, so that every chunk pays
for fresh zeroed pages. This file must not know who moves what.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_LARGE, _PAD = 2**30, 64 * 2**20
_HALF_HEAP = 32 * 2**20


def tune() -> bool:
    """Keep blocks below 1 GiB on the heap, and freed ones in the process; call it once, at start-up, before there are threads.

    Costs memory: what was freed stays with the process. So that it does not stay once for every thread, all threads share one
    heap. It is a no-op where the C library is not glibc.

    Returns:
        Whether all of it took.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, _ = library.mallopt, library.gnu_get_libc_version
    except (OSError, AttributeError, TypeError):  # another system, or another C library
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # Older versions refuse a threshold above half of a heap's largest size.
    mapped = any(mallopt(_MMAP_THRESHOLD, size) == 1 for size in (_LARGE, _HALF_HEAP))
    others = ((_TRIM_THRESHOLD, _LARGE), (_TOP_PAD, _PAD), (_ARENA_MAX, 1))
    return all([mapped, *(mallopt(option, value) == 1 for option, value in others)])
