"""A blob on its way into a file: it writes, hashes and verifies. Where complete blobs live is not known here.

Hashing in a second thread while the first one writes was measured on two cores and not kept: with chunks of up to 256 KiB it is
slower by a third (the handing over costs more than the write), with 1 MiB 10 % faster for one transfer and slower for two.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from hansa.errors import Damaged, StoreError
from hansa.store import disk
from hansa.store.part import Part
from hansa.store.port import Blob, Chunk, too_long

_PIECE = 1 << 20

Settle = Callable[[int, Path, str, int], Blob]
"""(open file, its path, sha, size) -> the blob, durable under its name."""


class FileReceiver:
    """Receives one blob into a part.

    Args:
        part: what is here; it is hashed again, since nobody knows how it came to be cut.
        sha: of the whole.
        size: of the whole, in bytes.
        room: raises DiskFull unless so many more bytes may be written.
        settle: what makes a verified part a blob; it raises OSError.

    Raises:
        OSError: the part cannot be read.
    """

    def __init__(self, part: Part, sha: str, size: int, room: Callable[[int], None], settle: Settle) -> None:
        self._part, self._sha, self._size, self._room, self._settle = part, sha, size, room, settle
        # A caller that was cancelled closes from another thread than the one that still writes.
        self._lock = threading.Lock()
        self._blob: Blob | None = None
        self._open = True
        if part.size > size:
            part.restart()  # no beginning of this content
        self._hash = hashed(part.fd, part.size)

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return self._part.size

    def write(self, chunk: Chunk) -> None:
        """Take the bytes that follow `offset`; see `hansa.store.Receiver`."""
        piece = memoryview(chunk).cast("B")
        with self._lock:
            self._check()
            if self.offset + piece.nbytes > self._size:
                self._end(keep=False)
                raise too_long(self._sha, self._size)
            try:
                self._room(piece.nbytes)
                self._part.append(piece)
            except OSError as problem:
                self._end(keep=True)
                raise disk.failure(problem, f"write blob {self._sha}", self._part.path) from problem
            except BaseException:
                self._end(keep=True)
                raise
            self._hash.update(piece)

    def finish(self) -> Blob:
        """Verify the content and make it durable; see `hansa.store.Receiver`."""
        with self._lock:
            if self._blob is not None:
                return self._blob
            self._check()
            if self.offset < self._size:
                raise StoreError(
                    f"blob {self._sha} is not complete: {self.offset} of {self._size} bytes are here",
                    hint=f"go on with its transfer at byte {self.offset}",
                )
            if (found := self._hash.hexdigest()) != self._sha:
                self._end(keep=False)
                raise Damaged(
                    f"the content that came for blob {self._sha} hashes to {found}",
                    where=str(self._part.path),
                    hint="it was dropped; send it again, from its beginning",
                )
            try:
                self._blob = self._settle(self._part.fd, self._part.path, self._sha, self._size)
            except OSError as problem:
                # After a failed fsync the kernel may call pages clean that never reached the disk, so that the next one
                # succeeds and the bytes are lost all the same: nothing here can be trusted.
                raise disk.failure(problem, f"finish blob {self._sha}", self._part.path) from problem
            finally:
                self._end(keep=False)
            return self._blob

    def close(self) -> None:
        """Let go of it; what is here stays."""
        with self._lock:
            if self._open:
                self._end(keep=True)

    def _check(self) -> None:
        if not self._open:
            raise StoreError(
                f"the transfer of blob {self._sha} is closed", hint="receive it again, and resume at its offset"
            )

    def _end(self, *, keep: bool) -> None:
        self._open = False
        try:
            if keep:
                self._part.leave(self._sha)
            else:
                self._part.drop()
        except OSError as problem:
            raise disk.failure(problem, f"put the part of blob {self._sha} away", self._part.path) from problem


def hashed(fd: int, size: int) -> hashlib._Hash:
    """The hash of the first `size` bytes of an open file.

    Raises:
        OSError: it cannot be read.
    """
    sha = hashlib.sha256()
    for piece in pieces(fd, size):
        sha.update(piece)
    return sha


def pieces(fd: int, size: int) -> Iterator[bytes]:
    """The first `size` bytes of an open file, or what there is of them: one that grows while it is read has an end too.

    Raises:
        OSError: it cannot be read.
    """
    offset = 0
    while piece := disk.read_at(fd, min(_PIECE, size - offset), offset):
        offset += len(piece)
        yield piece
