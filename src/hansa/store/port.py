"""The two ports of the store: a journal of small records, and content-addressed blobs. What is in either is not known here.

Together they make "receiving an update is journaling it" true: the blob is finished, then the record that names it is appended,
and only then is it acknowledged. Both survive a power cut from the moment that the call has returned.

All calls block, and may be made from any thread.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hansa.errors import Damaged, InputError

Chunk = bytes | bytearray | memoryview
"""Bytes in a row; a caller may use its buffer again as soon as the call has returned."""

_SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened.

    Attributes:
        run: the id of the run that it belongs to.
        kind: what happened, a word of the protocol's.
        body: the details, in the protocol's own encoding; small, since models are blobs.
        number: its place in the journal, from 1 upwards and never used twice; given by the journal, 0 before that.
    """

    run: str
    kind: str
    body: bytes
    number: int = 0


class Journal(Protocol):
    """What happened, in order. One process writes it."""

    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        """Append all of them or none; when this returns they survive a power cut.

        Args:
            records: in order; their `number` is ignored, since the journal gives its own.
            replacing: in the same transaction every earlier record of these kinds goes, in the runs that `records` name. So
                a snapshot takes the place of the asks and updates that it makes superfluous.

        Raises:
            DiskFull: there is no room; nothing was changed.
            StoreError: the journal is closed, or cannot be written.
        """
        ...

    def records(self, run: str | None = None) -> Iterator[Record]:
        """The records of one run, or of all, in the order in which they were appended, as they are when this is called.

        Records that are appended while one reads do not appear; those that are dropped meanwhile may.

        Raises:
            StoreError: the journal is closed, or cannot be read.
        """
        ...

    def forget(self, run: str) -> None:
        """Drop everything of a run, for good and durably; of a run without records, nothing.

        Raises:
            DiskFull: there is no room; nothing was changed.
            StoreError: the journal is closed, or cannot be written.
        """
        ...

    def close(self) -> None:
        """Let go of the journal, so that it can be opened again; closing twice is harmless."""
        ...


@dataclass(frozen=True, slots=True)
class Blob:
    """A complete blob.

    Attributes:
        sha: the sha256 of its bytes, in small hexadecimal digits: its name.
        size: in bytes.
        path: the file that holds it, to be read or memory-mapped and never written to. It goes with the blob's deletion; who
            has opened it before can read on.
    """

    sha: str
    size: int
    path: Path


@dataclass(frozen=True, slots=True)
class Partial:
    """The beginning of a blob, whose transfer can be resumed.

    Attributes:
        sha: what the complete one will be called.
        size: bytes that are here; whether they are the right ones is known only once it is complete.
    """

    sha: str
    size: int


class Receiver(Protocol):
    """A blob on its way in. A receiver that raised anything but "not complete yet" is closed: open another, and resume."""

    @property
    def offset(self) -> int:
        """Bytes that are here: the sender goes on from there."""
        ...

    def write(self, chunk: Chunk) -> None:
        """Take the bytes that follow `offset`.

        Raises:
            Damaged: they are more than were announced; what was received is dropped.
            DiskFull: there is no room; what is here stays, to be resumed.
            StoreError: the receiver is closed, or the file cannot be written.
        """
        ...

    def finish(self) -> Blob:
        """Verify the content and make it durable; when this returns the blob survives a power cut.

        Raises:
            Damaged: the content is not what its name says; it is dropped.
            DiskFull: there is no room; the content may have to be sent again.
            StoreError: bytes are missing (the receiver stays open for them), it is closed, or the file cannot be written.
        """
        ...

    def close(self) -> None:
        """Let go of it. What is here of an unfinished blob stays, to be resumed; closing twice is harmless."""
        ...


class Blobs(Protocol):
    """Files that are named by the sha256 of their bytes."""

    def held(self, sha: str) -> Blob | Partial | None:
        """What is here of a blob: all of it, durably; its beginning; or nothing.

        Raises:
            InputError: `sha` is no sha256.
        """
        ...

    def receive(self, sha: str, size: int) -> Receiver:
        """Begin a transfer, or go on with one: the receiver's `offset` says where.

        The receiver of a blob that is complete already needs no bytes, only `finish`. Receivers of the same blob at the same
        time do not meet: the first goes on with what is here, any other begins at 0 in a file of its own, and whoever is
        complete first makes the blob. Many clients send the same bytes (an evaluation's empty update), so a second transfer
        is no mistake; and if it shared a file with the first, one bad sender could spoil what others send.

        Args:
            sha: what the content must hash to.
            size: of the whole, in bytes.

        Raises:
            InputError: `sha` is no sha256, or `size` is negative.
            Damaged: the blob is here, and has another size.
            DiskFull: there is no room for the rest of it.
            StoreError: its file cannot be opened.
        """
        ...

    def put(self, content: Chunk | Path) -> Blob:
        """Take bytes, or a file that somebody else has written; when this returns the blob survives a power cut.

        A file is moved in: its path is gone afterwards. It is renamed where that is safe (it is on the same file system, of
        this user, and under no second name) and else copied. Call this only once its writer is done with it: one that kept
        it open could change it after it was hashed.

        Raises:
            DiskFull: there is no room; a file stays where it was.
            StoreError: the path is no regular file (a link is none), or cannot be read; or the store cannot be written.
        """
        ...

    def delete(self, shas: Iterable[str]) -> None:
        """Drop these, complete or partial; those that are not here, and transfers under way, are left alone.

        After a power cut a deleted blob may be back: compare `all` with the journal when starting.

        Raises:
            InputError: one of them is no sha256; nothing was deleted.
            StoreError: a file cannot be removed.
        """
        ...

    def all(self) -> Iterator[Blob | Partial]:
        """Everything that is here: the complete ones by name, then the partial ones by name.

        Raises:
            StoreError: the folder cannot be read.
        """
        ...


def is_sha(name: str) -> bool:
    """Whether something can name a blob: 64 small hexadecimal digits."""
    return bool(_SHA.fullmatch(name))


def checked_sha(sha: str) -> str:
    """The name itself, if it is one; so it is safe in a path.

    Raises:
        InputError: it is not.
    """
    if not is_sha(sha):
        raise InputError(
            f"{sha[:100]!r} cannot name a blob", hint="a blob is named by its sha256: 64 digits of 0-9 and a-f, small"
        )
    return sha


def checked_size(size: int) -> int:
    """The size itself, if a blob can have it.

    Raises:
        InputError: it is negative.
    """
    if size < 0:
        raise InputError(f"a blob of {size} bytes cannot be", hint="announce its size in bytes, 0 or more")
    return size


class Ready:
    """The receiver of a blob that is complete already."""

    def __init__(self, blob: Blob, size: int) -> None:
        if blob.size != size:
            raise Damaged(
                f"blob {blob.sha} has {blob.size} bytes, and {size} were announced",
                hint="the sender's name or size is wrong: let it hash and announce the content again",
            )
        self._blob = blob

    @property
    def offset(self) -> int:
        """The whole size."""
        return self._blob.size

    def write(self, chunk: Chunk) -> None:
        """Take nothing.

        Raises:
            Damaged: there is something.
        """
        if memoryview(chunk).nbytes:
            raise too_long(self._blob.sha, self._blob.size)

    def finish(self) -> Blob:
        """The blob."""
        return self._blob

    def close(self) -> None:
        """Nothing is held."""


def too_long(sha: str, size: int) -> Damaged:
    """The error for more bytes than were announced."""
    return Damaged(f"blob {sha} is longer than the {size} bytes announced", hint="send it again, from its beginning")
