"""What the store asks of Windows, where it has other words for it than POSIX. Nothing else imports this file.

Written after the documentation of Windows and of CPython, and never run on a Windows machine: see docs/light.md.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path

_GENERIC_READ, _GENERIC_WRITE = 0x80000000, 0x40000000
_SHARE_ALL = 1 | 2 | 4
"""To read, to write and to delete: only so can an open file be renamed or removed, as everywhere else."""
_OPEN_EXISTING, _OPEN_ALWAYS, _CREATE_NEW = 3, 4, 1
_ATTRIBUTE_NORMAL, _OPEN_REPARSE_POINT = 0x80, 0x00200000

_LOCKED = 1 << 30
"""Where the byte lies that is locked: far behind the content, which others may then read, since locks here are strict."""

_seeking = threading.Lock()


def opened(path: Path, flags: int) -> int:
    """A descriptor of a file that others may rename and remove meanwhile.

    Raises:
        OSError: it cannot be had.
    """
    if sys.platform != "win32":
        raise NotImplementedError
    import msvcrt

    how = _CREATE_NEW if flags & os.O_EXCL else _OPEN_ALWAYS if flags & os.O_CREAT else _OPEN_EXISTING
    access = _GENERIC_READ | (_GENERIC_WRITE if flags & os.O_RDWR else 0)
    create = ctypes.WinDLL("kernel32", use_last_error=True).CreateFileW
    create.restype = ctypes.c_void_p
    handle = create(str(path), access, _SHARE_ALL, None, how, _ATTRIBUTE_NORMAL | _OPEN_REPARSE_POINT, None)
    if handle is None or handle == ctypes.c_void_p(-1).value:
        raise ctypes.WinError(ctypes.get_last_error())
    return msvcrt.open_osfhandle(handle, flags & os.O_RDWR | os.O_BINARY | os.O_NOINHERIT)


def lock(descriptor: int) -> bool:
    """Lock an open file, until it is closed or its process ends; False where somebody else has it."""
    if sys.platform != "win32":
        raise NotImplementedError
    import msvcrt

    with _seeking:
        os.lseek(descriptor, _LOCKED, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    return True


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """Like `os.pread`: one thread at a time, since the place in the file is everybody's."""
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)


def write_at(descriptor: int, data: memoryview | bytes, offset: int) -> int:
    """Like `os.pwrite`, as `read_at`."""
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)
