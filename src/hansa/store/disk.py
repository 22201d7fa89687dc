"""What the store asks of the operating system: room, durable files and names, locks; and what its refusals mean.

Nothing here knows of blobs or of journals.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from hansa.errors import DiskFull, StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No room on the disk, none in the user's quota, none in the limit on a file's size."""

_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begin to write what is dirty, and do not wait for it


def free(folder: Path) -> int:
    """Bytes that this user may still write to the file system of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def failure(problem: OSError, doing: str, where: Path) -> StoreError:
    """What a refusal by the operating system means.

    Args:
        problem: the refusal.
        doing: what was tried, to go after "cannot": "write blob 3a0b...".
        where: the file or folder.

    Returns:
        DiskFull where there was no room, else a plain StoreError.
    """
    if problem.errno in _FULL:
        return full(f"cannot {doing}: {problem.strerror}", where)
    return StoreError(
        f"cannot {doing}: {problem.strerror or problem}",
        where=str(where),
        hint="see that the folder is there, belongs to this user, and that its disk is sound",
    )


def full(what: str, where: Path) -> DiskFull:
    """The error for a disk without room."""
    return DiskFull(
        what,
        where=str(where),
        hint="make room there (or raise the quota or the limit on file sizes) and try again; what was accepted is safe",
    )


def sync(fd: int) -> None:
    """Have what was written to a file on the disk itself; a name in a folder needs `sync_folder` too."""
    complete = getattr(fcntl, "F_FULLFSYNC", None)
    if complete is None:
        os.fsync(fd)
    else:  # macOS, whose fsync stops at the drive's cache
        fcntl.fcntl(fd, complete)


def sync_folder(folder: Path) -> None:
    """Have the names that were made, changed or removed in a folder on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return call


def begin_writing(fd: int, offset: int = 0, count: int = 0) -> None:
    """Let the disk begin with some bytes of a file, 0 for all, so that the `sync` at the end is short.

    A hint, only Linux can take it: that it fails means nothing.
    """
    if call := _sync_file_range():
        call(fd, offset, count, _WRITE)


def lock(fd: int) -> bool:
    """Lock an open file for this opening of it alone, until it is closed or its process ends, however that comes about.

    Returns:
        Whether it could be had: False where somebody else has it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def names(path: Path, fd: int) -> bool:
    """Whether a path still leads to an open file: a lock on a file that was renamed or removed meanwhile is worth nothing."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def write_all(fd: int, chunk: memoryview, offset: int) -> None:
    """Write to the end: a single call may stop short."""
    while chunk.nbytes:
        written = os.pwrite(fd, chunk, offset)
        chunk, offset = chunk[written:], offset + written


def takes(folder: Path, size: int) -> bool:
    """Whether a file of `size` bytes could grow in a folder; found out by trying, a few kilobytes at its end.

    Some libraries say that a write failed, and not why.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.truncate(size)
            os.pwrite(probe.fileno(), bytes(64 << 10), size)
            os.fsync(probe.fileno())
    except OSError as problem:
        return problem.errno not in _FULL
    return True
