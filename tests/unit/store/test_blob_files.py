"""Blobs in files: the order of system calls, disks without room, what lies in the folders, and what a file may be."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hansa.errors import Damaged, DiskFull, StoreError
from hansa.store import Blob, FileBlobs, Partial, disk

CONTENT = b"".join(hashlib.sha256(bytes([each % 256, each // 256])).digest() for each in range(9_375))
SHA = hashlib.sha256(CONTENT).hexdigest()


def opened(folder: Path) -> FileBlobs:
    return FileBlobs(folder, keep_free=0)


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "partial").iterdir())


def begun(blobs: FileBlobs, count: int = 1_000) -> None:
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        receiver.write(CONTENT[:count])


class Calls:
    """What was synced, renamed and made, in order, by name below a folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.made: list[str] = []
        fsync, rename, mkdir = os.fsync, os.rename, os.mkdir

        def named(path: Any) -> str:
            return os.path.relpath(os.fspath(path), root).replace(SHA, "SHA")

        def syncing(fd: int) -> None:
            self.made.append(f"sync {named(os.readlink(f'/proc/self/fd/{fd}'))}")
            fsync(fd)

        def renaming(old: Any, new: Any) -> None:
            self.made.append(f"rename {named(old)} to {named(new)}")
            rename(old, new)

        def making(path: Any, *arguments: Any) -> None:
            self.made.append(f"make {named(path)}")
            mkdir(path, *arguments)

        monkeypatch.setattr(os, "fsync", syncing)
        monkeypatch.setattr(os, "rename", renaming)
        monkeypatch.setattr(os, "mkdir", making)

    def since(self) -> list[str]:
        made, self.made = self.made, []
        return made


@pytest.fixture
def linux() -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc: which file a descriptor belongs to cannot be seen")


@pytest.mark.usefixtures("linux")
def test_content_is_synced_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SHA[:2]
    naming = [f"rename partial/SHA.part to blobs/{folder}/SHA", f"sync blobs/{folder}"]
    blobs = opened(tmp_path)
    calls = Calls(monkeypatch, tmp_path)
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        receiver.write(CONTENT)
        assert calls.since() == []
        receiver.finish()
    assert calls.since() == ["sync partial/SHA.part", f"make blobs/{folder}", "sync blobs", *naming]
    blobs.delete([SHA])
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        receiver.write(CONTENT)
        receiver.finish()
    assert calls.since() == ["sync partial/SHA.part", *naming]
    blobs.delete([SHA])
    written = tmp_path / "written"
    written.write_bytes(CONTENT)
    blobs.put(written)
    assert calls.since() == ["sync written", f"rename written to blobs/{folder}/SHA", f"sync blobs/{folder}"]


@pytest.mark.usefixtures("linux")
def test_names_that_a_killed_process_left_are_synced_before_anybody_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).put(CONTENT)
    calls = Calls(monkeypatch, tmp_path)
    opened(tmp_path)
    synced = [each for each in calls.since() if each.startswith("sync")]
    assert synced == ["sync ..", "sync .", "sync blobs", f"sync blobs/{SHA[:2]}"]


def test_a_blob_is_seen_only_once_its_name_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = opened(tmp_path)
    syncing, may_sync, seen = threading.Event(), threading.Event(), list[Any]()
    sync_folder = disk.sync_folder

    def slowly(folder: Path) -> None:
        syncing.set()
        assert may_sync.wait(10)
        sync_folder(folder)

    monkeypatch.setattr(disk, "sync_folder", slowly)
    putting = threading.Thread(target=blobs.put, args=(CONTENT,))
    putting.start()
    assert syncing.wait(10)
    looking = threading.Thread(target=lambda: seen.append(blobs.held(SHA)))
    looking.start()
    assert blobs._naming.locked()  # who looks has to wait for it
    assert seen == []
    may_sync.set()
    putting.join()
    looking.join()
    assert isinstance(seen[0], Blob)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_without_room_keeps_what_was_received(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    blobs, pwrite = opened(tmp_path), os.pwrite

    def refuse(fd: int, data: Any, offset: int) -> int:
        """Takes a little more, and then nothing."""
        if offset < 150_000:
            return pwrite(fd, data[: 150_000 - offset], offset)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwrite", refuse)
    receiver = blobs.receive(SHA, len(CONTENT))
    receiver.write(CONTENT[:100_000])
    with pytest.raises(DiskFull, match=r"cannot write blob(.|\n)*what to do: make room"):
        receiver.write(CONTENT[100_000:])
    with pytest.raises(StoreError, match="closed"):
        receiver.write(b"")
    assert blobs.held(SHA) == Partial(SHA, 150_000)
    written = tmp_path / "written"
    with pytest.raises(DiskFull):
        blobs.put(CONTENT)
    assert parts(tmp_path) == [f"{SHA}.part"]
    monkeypatch.setattr(os, "pwrite", pwrite)
    with closing(blobs.receive(SHA, len(CONTENT))) as again:
        again.write(CONTENT[again.offset :])
        again.finish()
    written.write_bytes(CONTENT)
    assert blobs.put(written) == blobs.held(SHA)


def test_some_room_is_kept_free(tmp_path: Path) -> None:
    left = [1_000_000]
    blobs = FileBlobs(tmp_path, keep_free=800_000, free=lambda folder: left[0])
    with pytest.raises(DiskFull, match="no room for 300000 more bytes: 1000000 are free, and 800000 of them are kept"):
        blobs.receive(SHA, len(CONTENT))
    with pytest.raises(DiskFull):
        blobs.put(CONTENT)
    assert parts(tmp_path) == []
    left[0] = 1_100_000
    receiver = blobs.receive(SHA, len(CONTENT))
    receiver.write(CONTENT[:200_000])
    left[0] = 899_999  # others write too
    with pytest.raises(DiskFull):
        receiver.write(CONTENT[200_000:])
    left[0] = 900_000
    with closing(blobs.receive(SHA, len(CONTENT))) as again:
        assert again.offset == 200_000
        again.write(CONTENT[200_000:])
        again.finish()


def test_after_a_failed_sync_nothing_that_was_received_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, fsync = opened(tmp_path), os.fsync

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for place in (0, 1, 2):  # the content; the new folder's name; the blob's name
        synced = 0

        def failing(fd: int, place: int = place) -> None:
            nonlocal synced
            synced += 1
            (fail if synced == place + 1 else fsync)(fd)

        monkeypatch.setattr(os, "fsync", failing)
        receiver = blobs.receive(SHA, len(CONTENT))
        receiver.write(CONTENT)
        with pytest.raises(StoreError, match="cannot finish blob"):
            receiver.finish()
        assert blobs.held(SHA) is None
        assert parts(tmp_path) == []
    monkeypatch.setattr(os, "fsync", fsync)
    assert blobs.put(CONTENT) == blobs.held(SHA)


def test_damage_is_found_in_a_beginning_that_changed_on_the_disk(tmp_path: Path) -> None:
    blobs = opened(tmp_path)
    begun(blobs)
    with (tmp_path / "partial" / f"{SHA}.part").open("r+b") as part:
        part.write(b"?")
    with closing(blobs.receive(SHA, len(CONTENT))) as receiver:
        receiver.write(CONTENT[1_000:])
        with pytest.raises(Damaged, match="hashes to"):
            receiver.finish()
    assert parts(tmp_path) == []


def test_what_nobody_will_resume_is_cleared_away_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    blobs = opened(tmp_path)
    begun(blobs)
    with closing(blobs.receive(SHA, len(CONTENT))) as one, closing(blobs.receive(SHA, len(CONTENT))) as two:
        (tmp_path / "partial" / "new.0123.part").write_bytes(b"of a process that was killed")
        assert len(parts(tmp_path)) == 3
        opened(tmp_path)
        assert len(parts(tmp_path)) == 2
        for receiver in (two, one):
            receiver.write(CONTENT[receiver.offset :])
            receiver.finish()
    assert parts(tmp_path) == []


def test_files_that_are_named_otherwise_are_not_blobs(tmp_path: Path) -> None:
    blobs = opened(tmp_path)
    blob = blobs.put(CONTENT)
    outside = tmp_path / "outside"
    outside.write_text("secret")
    other = hashlib.sha256(b"secret").hexdigest()
    (blob.path.parent / "readme").write_text("")
    (blob.path.parent / other).write_text("in the wrong folder")
    (tmp_path / "partial" / "readme").write_text("")
    link = tmp_path / "blobs" / other[:2] / other
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    (tmp_path / "partial" / f"{other}.part").symlink_to(outside)
    assert [each for each in blobs.all() if isinstance(each, Blob)] == [blob]
    with pytest.raises(StoreError):
        blobs.receive(other, 6)
    assert outside.read_text() == "secret"


def test_a_blob_is_read_only_and_for_this_user_alone(tmp_path: Path) -> None:
    blobs = opened(tmp_path / "new" / "folder")
    assert blobs.put(CONTENT).path.stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700


def test_a_file_of_another_file_system_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, rename, written = opened(tmp_path / "blobs"), os.rename, tmp_path / "written"

    def apart(old: Any, new: Any) -> None:
        if os.fspath(old) == os.fspath(written):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(old, new)

    monkeypatch.setattr(os, "rename", apart)
    written.write_bytes(CONTENT)
    assert blobs.put(written).path.read_bytes() == CONTENT
    assert not written.exists()
    assert parts(tmp_path / "blobs") == []


def test_a_file_of_another_user_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, written = opened(tmp_path / "blobs"), tmp_path / "written"
    written.write_bytes(CONTENT)
    number = written.stat().st_ino
    monkeypatch.setattr(os, "geteuid", lambda: written.stat().st_uid + 1)
    assert blobs.put(written).path.stat().st_ino != number
    assert not written.exists()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, pread, written = opened(tmp_path / "blobs"), os.pread, tmp_path / "written"
    written.write_bytes(CONTENT)

    def meanwhile(fd: int, count: int, offset: int) -> bytes:
        os.truncate(written, len(CONTENT) + offset)
        return pread(fd, count, offset)

    monkeypatch.setattr(os, "pread", meanwhile)
    with pytest.raises(StoreError, match="written to while"):
        blobs.put(written)
    assert written.exists()
    assert list(blobs.all()) == []


def test_a_pipe_is_no_file_and_nobody_waits_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="no regular file"):
        opened(tmp_path / "blobs").put(tmp_path / "pipe")


def test_a_receiver_may_be_closed_from_another_thread_while_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, pwrite = opened(tmp_path), os.pwrite
    writing, may_write = threading.Event(), threading.Event()

    def slowly(fd: int, data: Any, offset: int) -> int:
        writing.set()
        assert may_write.wait(10)
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slowly)
    receiver = blobs.receive(SHA, len(CONTENT))
    one, two = threading.Thread(target=receiver.write, args=(CONTENT[:10],)), threading.Thread(target=receiver.close)
    one.start()
    assert writing.wait(10)
    two.start()
    may_write.set()
    one.join()
    two.join()
    assert blobs.held(SHA) == Partial(SHA, 10)


def test_a_part_that_was_finished_before_it_could_be_locked_is_not_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, lock = opened(tmp_path), disk.lock
    first = blobs.receive(SHA, len(CONTENT))
    first.write(CONTENT)

    def late(fd: int) -> bool:
        monkeypatch.setattr(disk, "lock", lock)
        first.finish()
        return lock(fd)

    monkeypatch.setattr(disk, "lock", late)
    with closing(blobs.receive(SHA, len(CONTENT))) as second:
        assert second.offset == len(CONTENT)
        assert second.finish() == blobs.held(SHA)
    assert parts(tmp_path) == []


def test_a_part_that_was_dropped_before_it_could_be_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, lock = opened(tmp_path), disk.lock
    first = blobs.receive(SHA, len(CONTENT))
    first.write(bytes(len(CONTENT)))

    def late(fd: int) -> bool:
        monkeypatch.setattr(disk, "lock", lock)
        with pytest.raises(Damaged):
            first.finish()
        return lock(fd)

    monkeypatch.setattr(disk, "lock", late)
    with closing(blobs.receive(SHA, len(CONTENT))) as second:
        assert second.offset == 0
        assert parts(tmp_path) == [f"{SHA}.part"]
        second.write(CONTENT)
        assert second.finish().path.read_bytes() == CONTENT


@pytest.mark.parametrize("act", [lambda blobs: blobs.put(CONTENT), lambda blobs: blobs.receive(SHA, 1)])
def test_a_folder_that_went_away_is_a_store_error(tmp_path: Path, act: Callable[[FileBlobs], Any]) -> None:
    blobs = opened(tmp_path / "blobs")
    (tmp_path / "blobs" / "partial").rmdir()
    with pytest.raises(StoreError, match="see that the folder is there"):
        act(blobs)


def test_a_file_in_the_folder_s_place_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("")
    with pytest.raises(StoreError, match="cannot open the blobs"):
        opened(tmp_path / "blobs")
