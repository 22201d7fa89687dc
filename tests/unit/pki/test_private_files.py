"""Files of secrets: never readable by others, never half written; and the room's missing package."""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hansa.errors import DiskFull, StoreError
from hansa.pki import files
from hansa.pki.files import PRIVATE, PUBLIC, read, write, write_new


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_private_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def looking(descriptor: int) -> None:
        seen.extend(mode(path) for path in tmp_path.iterdir())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", looking)
    before = os.umask(0)
    try:
        write(tmp_path / "key", b"secret", PRIVATE)
        write(tmp_path / "key", b"other", PRIVATE)
        assert not write_new(tmp_path / "key", b"third", PRIVATE)
    finally:
        os.umask(before)
    assert set(seen) == {0o600}
    assert read(tmp_path / "key") == b"other"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_public_file_is_public_whatever_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "cert", b"open", PUBLIC)
    finally:
        os.umask(before)
    assert mode(tmp_path / "cert") == 0o644


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "key", b"old", PRIVATE)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no room") as caught:
        write(tmp_path / "key", b"new", PRIVATE)
    assert caught.value.where.endswith("key")
    with pytest.raises(DiskFull):
        write_new(tmp_path / "other", b"new", PRIVATE)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert read(tmp_path / "key") == b"old"


def test_a_file_is_new_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: write_new(tmp_path / "key", b"%d" % number, PRIVATE), range(8)))
    assert sum(made) == 1
    assert read(tmp_path / "key") == b"%d" % made.index(True)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_it_is_new_once_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuses)
    assert write_new(tmp_path / "key", b"1", PRIVATE)
    assert not write_new(tmp_path / "key", b"2", PRIVATE)
    assert read(tmp_path / "key") == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_what_cannot_be_read_or_written_is_a_store_error(tmp_path: Path) -> None:
    assert read(tmp_path / "none") is None
    assert read(tmp_path / "none" / "none") is None
    with pytest.raises(StoreError, match="cannot be used"):
        read(tmp_path)
    with pytest.raises(StoreError, match="cannot be used"):
        write(tmp_path / "none" / "file", b"", PRIVATE)
    with pytest.raises(StoreError, match="cannot be used"):
        write_new(tmp_path / "none" / "file", b"", PRIVATE)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be used"):
        write(tmp_path / "folder", b"", PRIVATE)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert not isinstance(files.store_error(OSError("odd"), tmp_path), DiskFull)
