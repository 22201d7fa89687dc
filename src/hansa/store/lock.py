"""One process at a time: a lock file beside what it protects. It does not know what that is."""

from __future__ import annotations

import os
from pathlib import Path

from hansa.errors import StoreError
from hansa.store import disk


class ProcessLock:
    """Holds a lock file from its making until `release`, or until this process ends, were it by kill -9.

    The file stays: removing it would let two others lock two files of the same name.

    Args:
        path: the lock file; this process's id is written into it, for the message that others get.
        what: what it protects, for that message.

    Raises:
        StoreError: another opening holds it, here or in another process, or the file cannot be made.
    """

    def __init__(self, path: Path, what: str) -> None:
        try:
            self._fd: int | None = disk.opened(path, os.O_RDWR | os.O_CREAT)
        except OSError as problem:
            raise disk.failure(problem, f"lock {what}", path) from problem
        try:
            if not disk.lock(self._fd):
                raise _held(disk.read_at(self._fd, 32, 0), path, what)
            os.ftruncate(self._fd, 0)
            disk.write_at(self._fd, str(os.getpid()).encode(), 0)
        except OSError as problem:
            self.release()
            raise disk.failure(problem, f"lock {what}", path) from problem
        except StoreError:
            self.release()
            raise

    def release(self) -> None:
        """Let the next one have it; releasing twice is harmless."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _held(written: bytes, path: Path, what: str) -> StoreError:
    pid = written.decode("ascii", "replace").strip()
    holder = f"process {pid}" if pid.isdigit() else "another process"
    if pid == str(os.getpid()):
        holder = f"this process ({pid})"
    return StoreError(
        f"{what} is in use by {holder}",
        where=str(path),
        hint="end that process first, or give this one a folder of its own; two writers would ruin it",
    )
