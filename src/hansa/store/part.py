"""A file that is being written and is no blob yet. It knows nothing of hashes.

Whoever writes a part holds its lock, in the kernel: so two writers never meet in one file, in this process or in another, and
after a kill -9 the part is free to be resumed. A locked part is renamed or removed by its holder only.

`partial/SHA.part` is the one that a later transfer resumes; `partial/new.TOKEN.part` belongs to one transfer alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from hansa.store import disk

_RESUMABLE = re.compile(r"([0-9a-f]{64})\.part")
_EARLY = 8 << 20  # measured: any step from 1 to 16 MiB leaves 1 to 4 ms for the last fsync of 100 MB, instead of 33


class Part:
    """An open and locked part. Its methods raise OSError; after `leave` or `drop` it is closed."""

    def __init__(self, fd: int, path: Path) -> None:
        self.fd, self.path = fd, path
        self.size = self._begun = os.fstat(fd).st_size

    @classmethod
    def resumed(cls, folder: Path, sha: str) -> Part:
        """What is here of a blob, to go on with; a new and empty part where somebody else is at it."""
        path = folder / f"{sha}.part"
        while True:
            fd = disk.opened(path, os.O_RDWR | os.O_CREAT)
            if not disk.lock(fd):
                os.close(fd)
                return cls.new(folder)
            if disk.names(path, fd):
                return cls(fd, path)
            os.close(fd)  # it was finished or deleted between the opening and the locking

    @classmethod
    def new(cls, folder: Path) -> Part:
        """An empty part that nobody resumes."""
        while True:
            path = folder / f"new.{secrets.token_hex(8)}.part"
            fd = disk.opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            if disk.lock(fd) and disk.names(path, fd):
                return cls(fd, path)
            os.close(fd)  # another process was just clearing the folder

    def append(self, chunk: memoryview) -> None:
        """Write at the end."""
        disk.write_all(self.fd, chunk, self.size)
        self.size += chunk.nbytes
        if self.size - self._begun >= _EARLY:
            disk.begin_writing(self.fd, self._begun, self.size - self._begun)
            self._begun = self.size

    def restart(self) -> None:
        """Empty it."""
        os.ftruncate(self.fd, 0)
        self.size = self._begun = 0

    def leave(self, sha: str) -> None:
        """Close it, and keep what is here as the resumable part of a blob, unless there is a longer one or one in use."""
        main = self.path.with_name(f"{sha}.part")
        try:
            if not (length := os.fstat(self.fd).st_size) or not (self.path == main or self._replaces(main, length)):
                self._unlink()
        finally:
            os.close(self.fd)

    def drop(self) -> None:
        """Close it, and remove it unless it was renamed or removed already."""
        try:
            self._unlink()
        finally:
            os.close(self.fd)

    def _unlink(self) -> None:
        if disk.names(self.path, self.fd):  # else the path may be somebody else's by now
            self.path.unlink()

    def _replaces(self, main: Path, length: int) -> bool:
        other = disk.opened(main, os.O_RDWR | os.O_CREAT)
        try:
            if not (disk.lock(other) and disk.names(main, other) and os.fstat(other).st_size < length):
                return False
            os.replace(self.path, main)
            return True
        finally:
            os.close(other)


def resumable(folder: Path) -> list[tuple[str, int]]:
    """The sha and the bytes of every part that can be resumed, those under way included, by name."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _RESUMABLE.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    found.append((match[1], entry.stat(follow_symlinks=False).st_size))
    return sorted(found)


def remove(path: Path) -> None:
    """Remove a part, unless it is not there or somebody is writing it."""
    try:
        fd = disk.opened(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        if disk.lock(fd) and disk.names(path, fd):
            path.unlink()
    finally:
        os.close(fd)


def clear(folder: Path) -> None:
    """Remove the parts that nobody will resume: their writers were killed."""
    for path in folder.glob("new.*.part"):
        remove(path)
