"""Blobs as files: `blobs/ab/abcd...` are complete, `partial/` is on its way. No journal is known here.

The order is what makes them durable: all bytes are written to a part, the part is synced and then renamed to the blob's name,
and the folder is synced. A name below `blobs/` therefore always stands for the whole content, whenever the power goes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hansa.errors import DiskFull, StoreError
from hansa.store import disk, part
from hansa.store.part import Part
from hansa.store.port import Blob, Chunk, Partial, Ready, Receiver, checked_sha, checked_size, is_sha
from hansa.store.receiver import FileReceiver, hashed, pieces

_PIECE = 1 << 20


class FileBlobs:
    """The blobs of one Director or Envoy.

    Args:
        folder: theirs alone; it is made where it is missing.
        keep_free: bytes of the disk that no blob may take, so that the journal can still be written.
        free: says how many bytes there are; tests put another one in.

    Raises:
        DiskFull: there is no room for the folders.
        StoreError: they cannot be made or read.
    """

    def __init__(self, folder: Path, *, keep_free: int = 64 << 20, free: Callable[[Path], int] = disk.free) -> None:
        self._folder, self._parts, self._blobs = folder, folder / "partial", folder / "blobs"
        self._keep_free, self._free = keep_free, free
        # Held while a name is made and synced: who finds a blob may acknowledge it, so it must not be seen a moment earlier.
        self._naming = threading.Lock()
        try:
            for each in (folder, self._parts, self._blobs):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.clear(self._parts)
            # A process that was killed may have renamed and not synced.
            self._prefixes = {each.name for each in self._blobs.iterdir() if each.is_dir()}
            for each in (folder.parent, folder, self._blobs, *(self._blobs / name for name in self._prefixes)):
                disk.sync_folder(each)
        except OSError as problem:
            raise disk.failure(problem, "open the blobs", folder) from problem

    def held(self, sha: str) -> Blob | Partial | None:
        """What is here of a blob."""
        if blob := self._complete(checked_sha(sha)):
            return blob
        with contextlib.suppress(FileNotFoundError):
            return Partial(sha, os.stat(self._parts / f"{sha}.part", follow_symlinks=False).st_size)
        return None

    def receive(self, sha: str, size: int) -> Receiver:
        """Begin a transfer, or go on with one."""
        checked_sha(sha)
        checked_size(size)
        if blob := self._complete(sha):
            return Ready(blob, size)
        try:
            opened = Part.resumed(self._parts, sha)
        except OSError as problem:
            raise disk.failure(problem, f"begin blob {sha}", self._parts) from problem
        try:
            if blob := self._complete(
                sha
            ):  # another transfer finished it, and took its part away, before ours was opened
                opened.drop()
                return Ready(blob, size)
            receiver = FileReceiver(opened, sha, size, self._room, self._settle)
        except OSError as problem:
            opened.leave(sha)
            raise disk.failure(problem, f"read the beginning of blob {sha}", opened.path) from problem
        try:
            self._room(size - receiver.offset)
        except DiskFull:
            receiver.close()
            raise
        return receiver

    def put(self, content: Chunk | Path) -> Blob:
        """Take bytes, or move a file in."""
        try:
            return self._adopt(content) if isinstance(content, Path) else self._write(memoryview(content).cast("B"))
        except OSError as problem:
            where = content if isinstance(content, Path) else self._folder
            raise disk.failure(problem, "take a blob in", where) from problem

    def delete(self, shas: Iterable[str]) -> None:
        """Drop these."""
        names = [checked_sha(sha) for sha in shas]
        for sha in names:
            try:
                with self._naming:
                    self._path(sha).unlink(missing_ok=True)
                part.remove(self._parts / f"{sha}.part")
            except OSError as problem:
                raise disk.failure(problem, f"delete blob {sha}", self._folder) from problem

    def all(self) -> Iterator[Blob | Partial]:
        """Everything that is here. Files that are not named as ours are not ours."""
        try:
            for prefix in sorted(each for each in self._blobs.iterdir() if each.is_dir()):
                for name in sorted(path.name for path in prefix.iterdir()):
                    if is_sha(name) and name[:2] == prefix.name and (blob := self._complete(name)):
                        yield blob
            for sha, size in part.resumable(self._parts):
                yield Partial(sha, size)
        except OSError as problem:
            raise disk.failure(problem, "list the blobs", self._folder) from problem

    def _path(self, sha: str) -> Path:
        return self._blobs / sha[:2] / sha

    def _complete(self, sha: str) -> Blob | None:
        path = self._path(sha)
        with self._naming:
            try:
                found = os.stat(path, follow_symlinks=False)
            except FileNotFoundError:
                return None
            except OSError as problem:
                raise disk.failure(problem, f"look for blob {sha}", path) from problem
        return Blob(sha, found.st_size, path) if stat.S_ISREG(found.st_mode) else None

    def _room(self, needed: int) -> None:
        if (free := self._free(self._folder)) - needed < self._keep_free:
            raise disk.full(
                f"no room for {needed} more bytes: {free} are free, and {self._keep_free} of them are kept for the journal",
                self._folder,
            )

    def _settle(self, fd: int, path: Path, sha: str, size: int) -> Blob:
        """Make a verified file, wherever on this file system it lies, the blob of that name."""
        disk.sync(fd)
        target = self._path(sha)
        with self._naming:
            if sha[:2] not in self._prefixes:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                disk.sync_folder(self._blobs)
                self._prefixes.add(sha[:2])
            if target.exists():
                path.unlink()
            else:
                os.rename(path, target)
                try:
                    disk.seal(fd)
                    disk.sync_folder(target.parent)
                except OSError:
                    target.unlink()
                    raise
        return Blob(sha, size, target)

    def _write(self, content: memoryview) -> Blob:
        sha = hashlib.sha256(content).hexdigest()
        if blob := self._complete(sha):
            return blob
        self._room(content.nbytes)
        new = Part.new(self._parts)
        try:
            for at in range(0, content.nbytes, _PIECE):
                new.append(content[at : at + _PIECE])
            return self._settle(new.fd, new.path, sha, content.nbytes)
        finally:
            new.drop()

    def _adopt(self, path: Path) -> Blob:
        try:
            fd = disk.opened(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except OSError as problem:
            if problem.errno in (errno.ELOOP, errno.EMLINK):
                raise _odd(path, "a symbolic link") from problem
            raise
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise _odd(path, "no regular file")
            # Under another name, or as another user's, it could be changed later.
            if found.st_nlink == 1 and found.st_uid == getattr(os, "geteuid", lambda: found.st_uid)():
                disk.begin_writing(fd)
                sha = hashed(fd, found.st_size)
                _unchanged(path, found, fd)
                try:
                    return self._settle(fd, path, sha.hexdigest(), found.st_size)
                except OSError as problem:
                    if problem.errno != errno.EXDEV:  # another file system
                        raise
            blob = self._copy(fd, found.st_size)
            _unchanged(path, found, fd)
            path.unlink()
            return blob
        finally:
            os.close(fd)

    def _copy(self, fd: int, size: int) -> Blob:
        new, sha = Part.new(self._parts), hashlib.sha256()
        try:
            for piece in pieces(fd, size):
                self._room(len(piece))
                new.append(memoryview(piece))
                sha.update(piece)
            return self._settle(new.fd, new.path, sha.hexdigest(), new.size)
        finally:
            new.drop()


def _odd(path: Path, found: str) -> StoreError:
    return StoreError(f"a blob is made of a regular file, and this is {found}", where=str(path), hint="write a file")


def _unchanged(path: Path, before: os.stat_result, fd: int) -> None:
    now = os.fstat(fd)
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise StoreError(
            "the file was written to while it was being taken in",
            where=str(path),
            hint="close it before handing it over",
        )
