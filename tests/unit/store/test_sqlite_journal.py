"""The journal in a file: one process at a time, its format, damage, disks without room, and its size."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hansa.errors import DiskFull, StoreError
from hansa.store import Record, SqliteJournal
from hansa.store.journal import FORMAT


def record(body: bytes = b"body", run: str = "a") -> Record:
    return Record(run, "ask", body)


def bodies(journal: SqliteJournal) -> list[bytes]:
    return [each.body for each in journal.records()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        database = journal._database
        assert database is not None
        found = [database.execute(f"PRAGMA {each}").fetchone()[0] for each in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]


def test_a_second_opening_is_refused_and_told_who_has_it(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        with pytest.raises(StoreError, match=rf"in use by this process \({os.getpid()}\)"):
            SqliteJournal(path)
        code = "import sys; from pathlib import Path; from hansa.store import SqliteJournal; SqliteJournal(Path(sys.argv[1]))"
        ended = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
        assert f"journal.sqlite is in use by process {os.getpid()}\n" in ended.stderr
        assert "what to do: end that process first" in ended.stderr
        journal.append([record()])
    with closing(SqliteJournal(path)) as journal:
        assert bodies(journal) == [b"body"]


def test_a_newer_format_is_refused_and_left_as_it_is(path: Path) -> None:
    SqliteJournal(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"has format {FORMAT + 1}(.|\n)*the newer Hansa"):
        SqliteJournal(path)
    assert path.read_bytes() == before


def test_another_program_s_database_is_refused_and_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE songs (title TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="no journal of Hansa's"):
        SqliteJournal(path)
    assert path.read_bytes() == before


def filled(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.append([record(str(each).encode() * 100) for each in range(500)])


@pytest.mark.parametrize("place", [0, 8192, -4096 * 5])
def test_a_damaged_file_is_refused_with_what_to_do(path: Path, place: int) -> None:
    filled(path)
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place : place + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"the journal is damaged(.|\n)*what to do: move it"):
        SqliteJournal(path)
    path.unlink()
    SqliteJournal(path).close()  # the lock was let go


def test_a_file_cut_short_is_refused(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)
    with pytest.raises(StoreError, match="the journal is damaged"):
        SqliteJournal(path)


def test_a_folder_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="see that the folder is there"):
        SqliteJournal(tmp_path / "absent" / "journal.sqlite")


def test_a_full_disk_changes_nothing_and_is_over_once_there_is_room(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.append([record()])
        assert journal._database is not None
        pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
        journal._database.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(DiskFull, match=r"cannot write to the journal(.|\n)*what to do: make room"):
            journal.append([record(b"1"), record(bytes(100_000))], replacing=("ask",))
        assert bodies(journal) == [b"body"]
        journal._database.execute("PRAGMA max_page_count = 1000000")
        journal.append([record(b"2")])
        assert bodies(journal) == [b"body", b"2"]


def test_another_program_that_only_reads_is_no_obstacle(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal, closing(sqlite3.connect(path)) as reader:
        journal.append([record()])
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM records").fetchone() == (1,)
        journal.append([record()])
        journal.forget("a")
        assert reader.execute("SELECT count(*) FROM records").fetchone() == (1,)


def test_the_files_do_not_grow_without_bound(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    with closing(SqliteJournal(path)) as journal:
        for turn in range(3):
            journal.append([record(bytes(10_000), str(turn)) for _ in range(300)])
            assert path.stat().st_size + log.stat().st_size > 3_000_000
            journal.forget(str(turn))
            assert path.stat().st_size < 100_000
            assert log.stat().st_size == 0
        for _ in range(600):  # a run that keeps its last snapshot only
            journal.append([record(bytes(30_000))], replacing=("ask",))
        assert path.stat().st_size + log.stat().st_size < 20_000_000
    assert path.stat().st_size < 100_000
    assert not log.exists()
