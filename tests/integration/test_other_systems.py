"""Systems that are not Linux, as far as Linux can tell: what only it has is taken away, and an Envoy still does its work.

A process that is told it is on macOS, and misses what macOS has not, takes part in a run. Where Windows has other words than
POSIX, the parts that can be called here are called. No real machine of either kind has run this: docs/light.md says so.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hansa.store import windows

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0

TAKEN_AWAY = """
import asyncio, concurrent.futures.thread, ctypes, logging, os, signal, socket, sqlite3, ssl, subprocess, sys, tempfile, zipfile
import zoneinfo  # which reads Python's own files of the system that it finds
import cryptography.x509, google.protobuf.message_factory, packaging.requirements, rich.console, websockets.asyncio.server
import typer._adapters, websockets.asyncio.client

LINUX_ONLY = ("memfd_create pidfd_open pipe2 sched_getaffinity sched_setaffinity setresgid setresuid posix_fallocate"
              " splice eventfd unshare setns waitid P_PID fdatasync getrandom").split()
NOT_ON_WINDOWS = ("fork killpg nice getuid geteuid getgid getgroups setgroups chown fchmod pread pwrite statvfs sysconf setsid"
                  " O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK mkfifo").split()


def take_away(names, modules, platform):
    for name in names:
        if hasattr(os, name):
            delattr(os, name)
    for name in modules:
        sys.modules[name] = None
    sys.platform = platform
"""

MAC = (
    TAKEN_AWAY
    + """
take_away(LINUX_ONLY, ["msvcrt", "winreg"], "darwin")
from hansa.cli import main

main()
"""
)

WINDOWS = (
    TAKEN_AWAY
    + """
take_away(LINUX_ONLY + NOT_ON_WINDOWS, ["fcntl", "resource", "pwd", "grp", "termios"], "win32")
sys.modules["msvcrt"] = None
import hansa.cli, hansa.cli.envoy, hansa.runtime.census, hansa.runtime.collaborator, hansa.runtime.envoy.serve
import hansa.runtime.envoy.listening, hansa.runtime.doctor.examination, hansa.store, hansa.pki, hansa.models.numpy
from hansa.runtime import machine
from hansa.runtime.children.hansa_child.confine import confine
from hansa.store import disk

assert machine.cores() >= 1
assert machine.memory() == 0, "Windows says so by a call that is not there"
wanted = {"memory": 2**30, "cpu": 1, "network": False, "user": None, "files": 2**30, "nice": 5}
held, refused = confine(wanted)
assert held == {}, held
assert refused["memory"] == "only Linux does this", refused
assert refused["core"] == "this system knows no such limit", refused
from pathlib import Path

folder = Path(sys.argv[1])
disk.sync_folder(folder)
descriptor = disk.opened(folder / "file", os.O_RDWR | os.O_CREAT)
disk.write_all(descriptor, memoryview(b"hello"), 3)
disk.seal(descriptor)
assert disk.read_at(descriptor, 9, 4) == b"ello"
print("all there")
"""
)


def test_what_an_envoy_loads_asks_for_nothing_that_windows_has_not(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WINDOWS, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "all there\n"), ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in /proc")
def test_an_envoy_that_thinks_it_is_on_a_mac_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.light import measured

    assert measured([sys.executable, "-c", MAC], tmp_path / "f", starts=0).accuracy > 0.95


def test_reading_and_writing_in_two_steps_is_reading_and_writing_at_a_place(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        assert windows.write_at(file.fileno(), b"hello", 3) == 5
        assert windows.read_at(file.fileno(), 3, 4) == b"ell"
        assert windows.read_at(file.fileno(), 9, 8) == b""
