"""Private files: for their owner's eyes only, and written whole or not at all.

This file must not know what is in them.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hansa.errors import DiskFull, StoreError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def explained(what: str, path: Path) -> Iterator[None]:
    """Say of an `OSError` what could not be done, and where.

    Raises:
        DiskFull: there is no room.
        StoreError: anything else.
    """
    try:
        yield
    except OSError as problem:
        kind, hint = (DiskFull, "make room") if problem.errno in _FULL else (StoreError, "check the path and its owner")
        raise kind(f"{what}: {problem.strerror or problem}", where=str(path), hint=hint) from problem


def make_private(folder: Path) -> None:
    """Make a folder that nobody else may look into, or make one that is there so. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix" and folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def create(path: Path, content: bytes) -> None:
    """Write a new private file through to the disk. Raises `OSError`, also where there is a file of that name."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, 0o600), "wb") as file:
        _through(file.fileno(), content)


def replace(path: Path, content: bytes) -> None:
    """Write a private file whole or not at all, in place of what was there. Raises `OSError`."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            _through(file.fileno(), content)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    settle(path.parent)


def append(path: Path, line: bytes) -> None:
    """Add a line to a private file, in one write, so that two processes' lines never mix. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    try:
        os.write(descriptor, line + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settle(folder: Path) -> None:
    """Let a folder's names outlast a power cut. Raises `OSError`."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _through(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)
