"""The store in memory: its crashes and its full disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from hansa.errors import DiskFull, StoreError
from hansa.store import Blob, MemoryBlobs, MemoryJournal, Partial, Record

CONTENT = bytes(range(200))
SHA = hashlib.sha256(CONTENT).hexdigest()


def record(body: bytes) -> Record:
    return Record("a", "ask", body)


def bodies(journal: MemoryJournal) -> list[bytes]:
    return [each.body for each in journal.records()]


def test_a_journal_that_crashed_is_dead_and_the_next_start_finds_what_was_appended() -> None:
    journal = MemoryJournal()
    journal.append([record(b"1")])
    copy = journal.durable()
    journal.crash()
    for act in (lambda: journal.append([record(b"2")]), journal.records, lambda: journal.forget("a")):
        with pytest.raises(StoreError, match="has crashed"):
            act()
    journal.close()
    assert bodies(journal.durable()) == bodies(copy) == [b"1"]
    copy.append([record(b"3")])
    assert bodies(journal.durable()) == [b"1"]


@pytest.mark.parametrize("after", range(4))
def test_a_journal_crashes_at_any_append(after: int) -> None:
    journal = MemoryJournal()
    journal.crash(after=after)
    for each in range(after):
        journal.append([record(bytes([each]))])
    with pytest.raises(StoreError, match="has crashed"):
        journal.append([record(b"never")])
    assert bodies(journal.durable()) == [bytes([each]) for each in range(after)]


def test_a_full_journal_changes_nothing_until_there_is_room() -> None:
    journal = MemoryJournal()
    journal.append([record(b"1")])
    journal.full = True
    with pytest.raises(DiskFull):
        journal.append([record(b"2")], replacing=("ask",))
    with pytest.raises(DiskFull):
        journal.forget("a")
    assert bodies(journal) == [b"1"]
    journal.full = False
    journal.append([record(b"2")])
    assert bodies(journal) == bodies(journal.durable()) == [b"1", b"2"]


def test_a_power_cut_takes_parts_along_and_undoes_the_last_deletions() -> None:
    blobs = MemoryBlobs()
    one, two, three = (blobs.put(bytes([each])) for each in range(3))
    blobs.delete([one.sha])
    blobs.put(b"later")
    blobs.delete([two.sha])
    receiver = blobs.receive(SHA, len(CONTENT))
    receiver.write(CONTENT[:50])
    blobs.crash()
    acts: list[Callable[[], object]] = [partial(blobs.held, SHA), partial(blobs.put, b""), partial(receiver.write, b"")]
    for act in (*acts, receiver.finish):
        with pytest.raises(StoreError, match="has crashed"):
            act()
    receiver.close()
    left = {each.sha for each in blobs.durable().all()}
    assert left == {two.sha, three.sha, hashlib.sha256(b"later").hexdigest()}


def test_a_killed_process_leaves_its_parts() -> None:
    blobs = MemoryBlobs()
    receiver = blobs.receive(SHA, len(CONTENT))
    receiver.write(CONTENT[:50])
    again = blobs.reopened()
    receiver.write(CONTENT[50:])
    assert again.held(SHA) == Partial(SHA, 50)
    with closing(again.receive(SHA, len(CONTENT))) as resumed:
        assert resumed.offset == 50


@pytest.mark.parametrize("after", range(1, 3))
def test_blobs_crash_at_any_blob_that_becomes_durable(after: int) -> None:
    blobs = MemoryBlobs()
    blobs.crash(after=after)
    for each in range(after):
        blobs.put(bytes([each]))
    receiver = blobs.receive(SHA, len(CONTENT))
    receiver.write(CONTENT)
    with pytest.raises(StoreError, match="has crashed"):
        receiver.finish()
    assert len(list(blobs.durable().all())) == after


def test_blobs_without_room_keep_what_is_here(tmp_path: Path) -> None:
    blobs, written = MemoryBlobs(), tmp_path / "written"
    written.write_bytes(CONTENT)
    receiver = blobs.receive(SHA, len(CONTENT))
    receiver.write(CONTENT[:50])
    blobs.full = True
    with pytest.raises(DiskFull):
        receiver.write(CONTENT[50:])
    with pytest.raises(DiskFull):
        blobs.receive(SHA, len(CONTENT))
    with pytest.raises(DiskFull):
        blobs.put(written)
    assert blobs.held(SHA) == Partial(SHA, 50)
    blobs.full = False
    with closing(blobs.receive(SHA, len(CONTENT))) as resumed:
        resumed.write(CONTENT[50:])
        assert isinstance(resumed.finish(), Blob)
    assert blobs.put(written).sha == SHA


def test_the_files_of_blobs_in_memory_go_with_them() -> None:
    blobs = MemoryBlobs()
    path = blobs.put(CONTENT).path
    assert path.exists()
    del blobs
    assert not path.parent.exists()
