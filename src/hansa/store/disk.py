"""What the store asks of the operating system: room, durable files and names, locks; and what its refusals mean.

The rest of the store asks for nothing that only some systems have: whatever differs between them is told apart here. Nothing
here knows of blobs or of journals.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hansa.errors import DiskFull, StoreError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # asked for wherever it is used

_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""No room on the disk, none in the user's quota, none in the limit on a file's size."""

_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begin to write what is dirty, and do not wait for it


def free(folder: Path) -> int:
    """Bytes that this user may still write to the file system of a folder."""
    if not hasattr(os, "statvfs"):
        return shutil.disk_usage(folder).free
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def opened(path: Path, flags: int) -> int:
    """A descriptor of a private file, of no symbolic link, that no child inherits.

    Args:
        path: the file.
        flags: of `os.open`: O_RDONLY, or O_RDWR with O_CREAT or with O_CREAT and O_EXCL.

    Raises:
        OSError: it cannot be had.
    """
    if os.name == "nt":
        from hansa.store import windows

        return windows.opened(path, flags)
    return os.open(path, flags | _PLAIN, 0o600)


def seal(fd: int) -> None:
    """Let nobody change an open file by mistake, where the system can do that to an open one."""
    if hasattr(os, "fchmod"):
        os.fchmod(fd, 0o400)


def read_at(fd: int, count: int, offset: int) -> bytes:
    """At most so many bytes of an open file, from an offset on."""
    if hasattr(os, "pread"):
        return os.pread(fd, count, offset)
    from hansa.store import windows

    return windows.read_at(fd, count, offset)


def write_at(fd: int, data: memoryview | bytes, offset: int) -> int:
    """Write to an open file at an offset; says how many bytes it took."""
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, offset)
    from hansa.store import windows

    return windows.write_at(fd, data, offset)


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
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders; NTFS keeps a journal of names
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    call = None if os.name == "nt" else getattr(ctypes.CDLL(None), "sync_file_range", None)
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
    if fcntl is None:
        from hansa.store import windows

        return windows.lock(fd)
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
        written = write_at(fd, chunk, offset)
        chunk, offset = chunk[written:], offset + written


def takes(folder: Path, size: int) -> bool:
    """Whether a file of `size` bytes could grow in a folder; found out by trying, a few kilobytes at its end.

    Some libraries say that a write failed, and not why.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.truncate(size)
            write_at(probe.fileno(), bytes(64 << 10), size)
            os.fsync(probe.fileno())
    except OSError as problem:
        return problem.errno not in _FULL
    return True
