"""The store in memory: for tests, and for simulated crashes. Nothing here outlives the process.

Both adapters keep what the next start would find apart from what the living process sees. After `crash` a handle is dead, as a
process is: whoever still holds it gets errors and changes nothing. `durable` is what the next start opens.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tempfile
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hansa.errors import Damaged, DiskFull, StoreError
from hansa.store.port import Blob, Chunk, Partial, Ready, Receiver, Record, checked_sha, checked_size, too_long

_CRASHED = "the process that this belonged to has crashed"


class _Mortal:
    """What both can be made to suffer.

    Attributes:
        full: while it is True whatever needs room raises DiskFull; nothing that is here is lost.
    """

    def __init__(self) -> None:
        self.full = False
        self._lock = threading.RLock()
        self._ended = ""
        self._left: int | None = None

    def crash(self, *, after: int = 0) -> None:
        """End as a process does that is killed.

        Args:
            after: so many more writes succeed that would be durable (an append, a forget; a finish, a put), and the one after
                them never happens; 0 for a crash at once. So a test can crash at every point of a run, one after the other.
        """
        with self._lock:
            if after:
                self._left = after
            else:
                self._ended = _CRASHED

    def _check(self) -> None:
        if self._ended:
            raise StoreError(self._ended, hint="open it again")

    def _room(self) -> None:
        if self.full:
            raise DiskFull("the disk in memory was told to be full", hint="set `full` to False, and try again")

    def _write(self) -> None:
        """Count a durable write, if it may happen."""
        self._check()
        if self._left == 0:
            self._ended = _CRASHED
            self._check()
        self._room()
        if self._left is not None:
            self._left -= 1


class MemoryJournal(_Mortal):
    """A journal in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._records: tuple[Record, ...] = ()
        self._last = 0

    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        """Append all of them or none."""
        new = list(records)
        runs = {each.run for each in new}
        with self._lock:
            self._write()
            kept = tuple(each for each in self._records if not (each.run in runs and each.kind in replacing))
            numbered = tuple(replace(each, number=number) for number, each in enumerate(new, self._last + 1))
            self._records, self._last = kept + numbered, self._last + len(new)

    def records(self, run: str | None = None) -> Iterator[Record]:
        """The records of one run, or of all, in order, as they are now."""
        with self._lock:
            self._check()
            return iter([each for each in self._records if run is None or each.run == run])

    def forget(self, run: str) -> None:
        """Drop everything of a run."""
        with self._lock:
            self._write()
            self._records = tuple(each for each in self._records if each.run != run)

    def close(self) -> None:
        """Let go of the journal."""
        with self._lock:
            self._ended = self._ended or "the journal is closed"

    def durable(self) -> MemoryJournal:
        """What the next start would find, with room on its disk; this one and that do not meet again."""
        copy = MemoryJournal()
        with self._lock:
            copy._records, copy._last = self._records, self._last
        return copy


class MemoryBlobs(_Mortal):
    """Blobs in memory. Their `path`s are copies in a temporary folder, removed when this is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, bytes] = {}
        self._disk: dict[str, bytes] = {}
        """What survives a power cut: not the deletions since a blob was last made durable."""
        self._parts: dict[str, bytearray] = {}
        self._busy: set[str] = set()
        self._folder: Path | None = None

    def held(self, sha: str) -> Blob | Partial | None:
        """What is here of a blob."""
        checked_sha(sha)
        with self._lock:
            self._check()
            if sha in self._seen:
                return self._blob(sha)
            return Partial(sha, len(self._parts[sha])) if sha in self._parts else None

    def receive(self, sha: str, size: int) -> Receiver:
        """Begin a transfer, or go on with one."""
        checked_sha(sha)
        checked_size(size)
        with self._lock:
            self._check()
            if sha in self._seen:
                return Ready(self._blob(sha), size)
            self._room()
            return MemoryReceiver(self, sha, size)

    def put(self, content: Chunk | Path) -> Blob:
        """Take bytes, or move a file in."""
        with self._lock:
            self._write()
            if not isinstance(content, Path):
                return self._keep(bytes(content))
            try:
                if not stat.S_ISREG(content.stat(follow_symlinks=False).st_mode):
                    raise StoreError("a blob is made of a regular file", where=str(content), hint="write a file")
                blob = self._keep(content.read_bytes())
                content.unlink()
            except OSError as problem:
                raise StoreError(
                    f"cannot take a blob in: {problem.strerror}", where=str(content), hint="see that the file is there"
                ) from problem
            return blob

    def delete(self, shas: Iterable[str]) -> None:
        """Drop these."""
        names = [checked_sha(sha) for sha in shas]
        with self._lock:
            self._check()
            for sha in names:
                self._seen.pop(sha, None)
                if self._folder:
                    (self._folder / sha).unlink(missing_ok=True)
                if sha not in self._busy:
                    self._parts.pop(sha, None)

    def all(self) -> Iterator[Blob | Partial]:
        """Everything that is here."""
        with self._lock:
            self._check()
            partial = [Partial(sha, len(content)) for sha, content in sorted(self._parts.items())]
            return iter([*(self._blob(sha) for sha in sorted(self._seen)), *partial])

    def durable(self) -> MemoryBlobs:
        """What the next start would find after a power cut: no parts, and what was deleted last is back."""
        with self._lock:
            return self._copy(self._disk, {})

    def reopened(self) -> MemoryBlobs:
        """What the next start would find after a kill -9: what the process had written is there."""
        with self._lock:
            return self._copy(self._seen, self._parts)

    def _copy(self, blobs: dict[str, bytes], parts: dict[str, bytearray]) -> MemoryBlobs:
        copy = MemoryBlobs()
        copy._seen, copy._disk = dict(blobs), dict(self._disk)
        copy._parts = {sha: bytearray(content) for sha, content in parts.items()}
        return copy

    def _keep(self, content: bytes) -> Blob:
        sha = hashlib.sha256(content).hexdigest()
        self._seen[sha] = content
        self._disk = dict(self._seen)
        return self._blob(sha)

    def _blob(self, sha: str) -> Blob:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="hansa-blobs-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / sha
        if not path.exists():
            path.write_bytes(self._seen[sha])
        return Blob(sha, len(self._seen[sha]), path)


class MemoryReceiver:
    """Receives one blob into memory."""

    def __init__(self, blobs: MemoryBlobs, sha: str, size: int) -> None:
        self._blobs, self._sha, self._size = blobs, sha, size
        self._first = sha not in blobs._busy
        found = blobs._parts.get(sha) if self._first else None
        self._content = bytearray() if found is None or len(found) > size else found
        self._blob: Blob | None = None
        self._open = True
        if self._first:
            blobs._busy.add(sha)
            blobs._parts[sha] = self._content

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return len(self._content)

    def write(self, chunk: Chunk) -> None:
        """Take the bytes that follow `offset`."""
        with self._blobs._lock:
            self._check()
            piece = bytes(chunk)
            if self.offset + len(piece) > self._size:
                self._end(keep=False)
                raise too_long(self._sha, self._size)
            self._allowed(self._blobs._room)
            self._content += piece

    def finish(self) -> Blob:
        """Verify the content and make it durable."""
        with self._blobs._lock:
            if self._blob is not None:
                return self._blob
            self._check()
            if self.offset < self._size:
                raise StoreError(
                    f"blob {self._sha} is not complete: {self.offset} of {self._size} bytes are here",
                    hint=f"go on with its transfer at byte {self.offset}",
                )
            if (found := hashlib.sha256(self._content).hexdigest()) != self._sha:
                self._end(keep=False)
                raise Damaged(
                    f"the content that came for blob {self._sha} hashes to {found}",
                    hint="it was dropped; send it again, from its beginning",
                )
            self._allowed(self._blobs._write)
            self._end(keep=False)
            self._blob = self._blobs._keep(bytes(self._content))
            return self._blob

    def close(self) -> None:
        """Let go of it; what is here stays."""
        with self._blobs._lock:
            if self._open:
                self._end(keep=True)

    def _allowed(self, asked: Callable[[], None]) -> None:
        try:
            asked()
        except StoreError:
            self._end(keep=True)
            raise

    def _check(self) -> None:
        self._blobs._check()
        if not self._open:
            raise StoreError(f"the transfer of blob {self._sha} is closed", hint="receive it again, and resume")

    def _end(self, *, keep: bool) -> None:
        self._open = False
        parts, busy = self._blobs._parts, self._blobs._busy
        if self._first:
            busy.discard(self._sha)
            if not (keep and self._content):
                parts.pop(self._sha, None)
        elif keep and self._sha not in busy and len(self._content) > len(parts.get(self._sha, b"")):
            parts[self._sha] = self._content
