"""Small files that are there whole or not at all, and private ones that nobody else can read at any moment.

This file must not know what is written: a key, a certificate, or anything else.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from hansa.errors import DiskFull, StoreError

PRIVATE = 0o600
"""Its owner alone reads it."""
PUBLIC = 0o644
"""Everybody on this machine may read it."""

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def store_error(error: OSError, path: Path) -> StoreError:
    """What an operating system's error about `path` is called in Hansa."""
    if error.errno in _FULL:
        return DiskFull("there is no room left to write", where=str(path), hint="make room, and do the same again")
    why = error.strerror or type(error).__name__
    return StoreError(
        f"a file cannot be used: {why}", where=str(path), hint="see that this user may read and write the folder"
    )


def make_folder(folder: Path) -> None:
    """Make the folder, open to its owner alone, if it is not there; one that is there stays as it is.

    Raises:
        StoreError: it cannot be made, or something else has its name.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise store_error(error, folder) from error


def read(path: Path) -> bytes | None:
    """The file's content, or None where there is no such file.

    Raises:
        StoreError: it is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise store_error(error, path) from error


def write(path: Path, data: bytes, mode: int) -> None:
    """Put the content in the file's place in one step, and on the disk before this returns.

    Args:
        path: the file; what it held before is replaced.
        data: all that it shall hold.
        mode: `PRIVATE` or `PUBLIC`.

    Raises:
        DiskFull: there is no room; the file is as it was.
        StoreError: it cannot be written; the file is as it was.
    """
    try:
        temporary = _written(path, data, mode)
        try:
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise store_error(error, path) from error


def write_new(path: Path, data: bytes, mode: int) -> bool:
    """Like `write`, unless the file is there already: then it stays as it is, whoever else is writing it.

    Returns:
        Whether this call made the file.

    Raises:
        DiskFull: there is no room.
        StoreError: it cannot be written.
    """
    try:
        temporary = _written(path, data, mode)
        try:
            _link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise store_error(error, path) from error
    return True


def _link(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Some mounted file systems have no hard links. There the check and the step are two, which is the best that is left.
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        temporary.replace(path)


def _written(path: Path, data: bytes, mode: int) -> Path:
    """A file beside `path` with this content. It is born with mode 0600 and widened, if at all, when it is complete."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if mode != PRIVATE:
                temporary.chmod(mode)
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    """A new name is durable only once its folder is."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
