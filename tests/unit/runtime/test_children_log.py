"""A child's log: small on the disk, whole at its end, and read at a measured pace."""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path

import pytest

from hansa.runtime.children.log import CappedLog, Pace, Pump


def test_it_keeps_the_last_lines_and_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = CappedLog(path, 1000)
    for number in range(1000):
        log.write(f"line {number}\n".encode())
    log.close()
    before, now = (tmp_path / "log.1").read_bytes(), path.read_bytes()
    assert len(before) <= 500
    assert len(now) <= 500
    assert (before + now).endswith(b"line 998\nline 999\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", "log.1"]


def test_one_large_write_stays_small_too(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 1000)
    log.write(b"x" * 10_000 + b"end")
    log.close()
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 1000
    assert (tmp_path / "log").read_bytes().endswith(b"end")


def test_it_appends_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"one\n", b"two\n"):
        log = CappedLog(path, 1000)
        log.write(text)
        log.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_stops_the_log_and_not_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CappedLog(tmp_path / "log", 1000)
    full = FileIO("/dev/full", "ab")
    with log._file or full:
        log._file = full
        log.write(b"lost")
    assert full.closed
    log.write(b"lost too")
    log.close()


def test_the_pace_allows_a_burst_and_then_its_rate() -> None:
    now = 0.0
    pace = Pace(100.0, lambda: now)
    assert pace.spend(100) == 0
    assert pace.spend(50) == 0.5
    now = 0.5
    assert pace.spend(0) == 0
    now = 1000.0
    assert pace.spend(100) == 0
    assert pace.spend(100) == 1.0, "time without output is no credit"


def test_the_pump_carries_all_to_the_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    pump = Pump(reading, CappedLog(tmp_path / "log", 2**20), clock=lambda: 0.0)
    os.write(writing, b"hello")
    os.close(writing)
    pump.finish(60.0)
    assert (tmp_path / "log").read_bytes() == b"hello"
