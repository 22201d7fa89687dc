"""Every journal and every store of blobs passes its published kit, and the kits reject one for each law it could break."""

# ruff: noqa: ARG002 - signatures are the port's, whatever a broken one makes of them

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hansa.errors import StoreError
from hansa.store import (
    Blob,
    Chunk,
    FileBlobs,
    Journal,
    MemoryBlobs,
    MemoryJournal,
    Partial,
    Receiver,
    Record,
    SqliteJournal,
)
from hansa.store.memory import MemoryReceiver
from hansa.testing.stores import check_blobs, check_journal


class InMemory:
    """Keeps what was opened by its folder, and opens it again as the next start would."""

    def __init__(self, journal: type[MemoryJournal] = MemoryJournal, blobs: type[MemoryBlobs] = MemoryBlobs) -> None:
        self.kinds = journal, blobs
        self.journals: dict[Path, MemoryJournal] = {}
        self.blobs: dict[Path, MemoryBlobs] = {}

    def journal(self, folder: Path) -> Journal:
        known = self.journals.get(folder)
        self.journals[folder] = known.durable() if known else self.kinds[0]()
        return self.journals[folder]

    def store(self, folder: Path) -> MemoryBlobs:
        known = self.blobs.get(folder)
        self.blobs[folder] = known.reopened() if known else self.kinds[1]()
        return self.blobs[folder]


def sqlite(folder: Path) -> SqliteJournal:
    return SqliteJournal(folder / "journal.sqlite")


def files(folder: Path) -> FileBlobs:
    return FileBlobs(folder, keep_free=0)


def test_the_journal_in_a_file_keeps_records_as_the_port_promises() -> None:
    check_journal(sqlite)


def test_the_journal_in_memory_keeps_records_as_the_port_promises() -> None:
    check_journal(InMemory().journal)


def test_blobs_in_files_are_kept_as_the_port_promises() -> None:
    check_blobs(files)


def test_blobs_in_memory_are_kept_as_the_port_promises() -> None:
    check_blobs(InMemory().store)


# --- the kits can fail


class Kept(MemoryJournal):
    """A journal in memory whose next start is of the same kind."""

    def durable(self) -> MemoryJournal:
        copy = type(self)()
        copy._records, copy._last = self._records, self._last
        return copy


class Backwards(Kept):
    def records(self, run: str | None = None) -> Iterator[Record]:
        return reversed(list(super().records(run)))


class Numberless(Kept):
    def records(self, run: str | None = None) -> Iterator[Record]:
        return (replace(each, number=0) for each in super().records(run))


class OneForAll(Kept):
    """Gives every run's records to whoever asks for one's."""

    def records(self, run: str | None = None) -> Iterator[Record]:
        return super().records()


class OneByOne(Kept):
    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        for each in records:
            super().append([each])


class Hoards(Kept):
    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        super().append(records)


class ReplacesEverywhere(Kept):
    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        new = list(records)
        self._records = tuple(each for each in self._records if each.kind not in replacing)
        super().append(new)


class ReplacesItself(Kept):
    """Drops the new records of a kind too."""

    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        super().append([each for each in records if each.kind not in replacing], replacing=replacing)


class NeverForgets(Kept):
    def forget(self, run: str) -> None:
        pass


class ForgetsAll(Kept):
    def forget(self, run: str) -> None:
        if any(each.run == run for each in self._records):
            self._records = ()


class CountsAgain(Kept):
    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        self._last = max((each.number for each in self._records), default=0)
        super().append(records, replacing=replacing)


class Live(Kept):
    """Shows what is appended meanwhile."""

    def records(self, run: str | None = None) -> Iterator[Record]:
        self._check()
        return self.living(run)

    def living(self, run: str | None) -> Iterator[Record]:
        number = 0
        while later := [each for each in self._records if each.number > number and run in (None, each.run)]:
            number = later[0].number
            yield later[0]


class Forgetful(Kept):
    def durable(self) -> MemoryJournal:
        copy = type(self)()
        copy._last = self._last
        return copy


class NeverCloses(Kept):
    def close(self) -> None:
        pass


class OneThread(Kept):
    """Loses what other threads than the main one write."""

    def append(self, records: Sequence[Record], *, replacing: Collection[str] = ()) -> None:
        if threading.current_thread() is threading.main_thread():
            super().append(records, replacing=replacing)


class Fails(Kept):
    def forget(self, run: str) -> None:
        raise StoreError("no")


JOURNALS: dict[type[MemoryJournal], str] = {
    Backwards: "in order",
    Numberless: "numbers its records",
    OneForAll: "a run's records are those of the run",
    OneByOne: "of an append that fails",
    Hoards: "replacing drops",
    ReplacesEverywhere: "of an append that fails|replacing drops",
    ReplacesItself: "replacing drops",
    NeverForgets: "forgetting drops",
    ForgetsAll: "forgetting drops",
    CountsAgain: "never used twice",
    Live: "as they were when reading was asked for",
    Forgetful: "opened again",
    NeverCloses: "a closed journal says so",
    OneThread: "threads may write",
    Fails: "forgetting; it raised StoreError",
}


@pytest.mark.parametrize(("broken", "law"), JOURNALS.items(), ids=[kind.__name__ for kind in JOURNALS])
def test_the_kit_rejects_a_journal_that_breaks_a_law(broken: type[MemoryJournal], law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_journal(InMemory(broken).journal)


def test_the_wrapper_of_the_broken_journals_is_good() -> None:
    check_journal(InMemory(Kept).journal)


class Same(MemoryBlobs):
    """Blobs in memory whose next start is of the same kind, and whose receivers a subclass changes."""

    receiver: type[MemoryReceiver] = MemoryReceiver

    def reopened(self) -> MemoryBlobs:
        copy, found = type(self)(), super().reopened()
        copy._seen, copy._disk, copy._parts = found._seen, found._disk, found._parts
        return copy

    def receive(self, sha: str, size: int) -> Receiver:
        found = super().receive(sha, size)
        if isinstance(found, MemoryReceiver):
            found.__class__ = self.receiver
        return found


class Copies(Same):
    def put(self, content: Chunk | Path) -> Blob:
        return super().put(content.read_bytes() if isinstance(content, Path) and content.is_file() else content)


class FollowsLinks(Same):
    def put(self, content: Chunk | Path) -> Blob:
        return super().put(content.resolve() if isinstance(content, Path) else content)


class Shares(Same):
    """Keeps a file that has another name still."""

    def put(self, content: Chunk | Path) -> Blob:
        if not isinstance(content, Path) or not content.is_file() or content.is_symlink():
            return super().put(content)
        blob = super().put(content.read_bytes())
        blob.path.unlink()
        content.rename(blob.path)
        return blob


class Restarts(Same):
    def receive(self, sha: str, size: int) -> Receiver:
        if sha not in self._busy:
            self._parts.pop(sha, None)
        return super().receive(sha, size)


class Again(Same):
    """Wants the bytes of a complete blob again."""

    def receive(self, sha: str, size: int) -> Receiver:
        self._seen.pop(sha, None)
        return super().receive(sha, size)


class OneSender(Same):
    def receive(self, sha: str, size: int) -> Receiver:
        if sha in self._busy:
            raise StoreError("somebody is at it")
        return super().receive(sha, size)


class OnePart(Same):
    """All that receive a blob write to the same place."""

    def receive(self, sha: str, size: int) -> Receiver:
        self._busy.discard(sha)
        return super().receive(sha, size)


class AnySize(Same):
    def receive(self, sha: str, size: int) -> Receiver:
        found = self.held(sha)
        return super().receive(sha, found.size if isinstance(found, Blob) else size)


class DeletesAll(Same):
    def delete(self, shas: Iterable[str]) -> None:
        super().delete([*shas, *self._seen])


class NeverDeletes(Same):
    def delete(self, shas: Iterable[str]) -> None:
        for sha in shas:
            self.held(sha)


class DeletesOneByOne(Same):
    def delete(self, shas: Iterable[str]) -> None:
        for sha in shas:
            super().delete([sha])


class Unsorted(Same):
    def all(self) -> Iterator[Blob | Partial]:
        return reversed(list(super().all()))


class HidesParts(Same):
    def all(self) -> Iterator[Blob | Partial]:
        return (each for each in super().all() if isinstance(each, Blob))


class AnyName(Same):
    def held(self, sha: str) -> Blob | Partial | None:
        return super().held(sha) if len(sha) == 64 and sha.islower() else None


class LosesParts(Same):
    def reopened(self) -> MemoryBlobs:
        copy = super().reopened()
        copy._parts.clear()
        return copy


class LosesBlobs(Same):
    def reopened(self) -> MemoryBlobs:
        return type(self)()


class Believes(MemoryReceiver):
    def finish(self) -> Blob:
        if self.offset < self._size:
            return super().finish()
        self._end(keep=False)
        self._blobs._seen[self._sha] = bytes(self._content)
        return self._blobs._blob(self._sha)


class Unverified(Same):
    receiver = Believes


class Endless(MemoryReceiver):
    def write(self, chunk: Chunk) -> None:
        self._size = max(self._size, self.offset + len(chunk))
        super().write(chunk)


class TakesMore(Same):
    receiver = Endless


class Impatient(MemoryReceiver):
    def finish(self) -> Blob:
        self._size = min(self._size, self.offset)
        return super().finish()


class MissingIsDamaged(Same):
    receiver = Impatient


class Open(MemoryReceiver):
    def close(self) -> None:
        if self._open:
            super().close()
            self._open = True


class NeverClosed(Same):
    receiver = Open


class Drops(MemoryReceiver):
    def close(self) -> None:
        if self._open:
            self._end(keep=False)


class KeepsNothing(Same):
    receiver = Drops


BLOBS: dict[type[MemoryBlobs], str] = {
    Copies: "gone from where it was",
    FollowsLinks: "only a regular file",
    Shares: "a second name",
    Restarts: "to be resumed",
    KeepsNothing: "to be resumed",
    Again: "needs no bytes",
    OneSender: "side by side; it raised",
    OnePart: "only the first goes on",
    AnySize: "has the size it has",
    DeletesAll: "deleting drops these",
    NeverDeletes: "deleting drops these",
    DeletesOneByOne: "a deletion with a bad name",
    Unsorted: "everything is listed",
    HidesParts: "everything is listed",
    AnyName: "names a blob",
    LosesParts: "opened again",
    LosesBlobs: "opened again",
    Unverified: "content that is not what its name says",
    TakesMore: "more bytes than were announced",
    MissingIsDamaged: "missing bytes",
    NeverClosed: "a closed receiver says so",
}


@pytest.mark.parametrize(("broken", "law"), BLOBS.items(), ids=[kind.__name__ for kind in BLOBS])
def test_the_kit_rejects_blobs_that_break_a_law(broken: type[MemoryBlobs], law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_blobs(InMemory(blobs=broken).store)


def test_the_wrapper_of_the_broken_blobs_is_good() -> None:
    check_blobs(InMemory(blobs=Same).store)
