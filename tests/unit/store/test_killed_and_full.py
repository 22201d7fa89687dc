"""What kill -9 and a disk that is really full leave behind, seen by child processes that suffer them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hansa.store import Blob, FileBlobs, Partial, SqliteJournal

CHILD = """
import hashlib, sys
from contextlib import closing
from pathlib import Path
from hansa.store import FileBlobs, Record, SqliteJournal

folder, first = Path(sys.argv[1]), int(sys.argv[2])
journal, blobs = SqliteJournal(folder / "journal.sqlite"), FileBlobs(folder, keep_free=0)
turn = first
while True:
    content = bytes([turn % 256]) * 200_000
    sha = hashlib.sha256(content).hexdigest()
    with closing(blobs.receive(sha, len(content))) as receiver:
        at = receiver.offset
        print("offset", turn, at, flush=True)
        while at < len(content):
            receiver.write(content[at : at + 5_000])
            at += 5_000
            print("written", turn, receiver.offset, flush=True)
        receiver.finish()
    journal.append([Record("run", "blob", f"{turn} {part} {sha}".encode() + bytes(5_000)) for part in range(3)])
    print("appended", turn, 0, flush=True)
    turn += 1
"""


def content_of(turn: int) -> bytes:
    return bytes([turn % 256]) * 200_000


@pytest.mark.parametrize("seed", range(4))
def test_after_kill_9_every_append_that_returned_is_there_and_transfers_go_on(tmp_path: Path, seed: int) -> None:
    moments, turn, offset = random.Random(seed), 0, 0  # noqa: S311 - moments, no secrets
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path, str(turn)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines = (child.stdout.readline().split() for _ in range(moments.randrange(1, 200)))
        said = [(word, int(number), int(at)) for word, number, at in lines]
        os.kill(child.pid, signal.SIGKILL)
        whole = (line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n"))
        rest = [line.split() for line in whole]
        child.stdout.close()
        child.wait()
        assert child.returncode == -signal.SIGKILL
        said += [(word, int(number), int(at)) for word, number, at in rest]
        assert said[0][0] == "offset"
        assert said[0][2] >= offset  # what was here was not sent again
        returned = [number for word, number, _ in said if word == "appended"]

        with closing(SqliteJournal(tmp_path / "journal.sqlite")) as journal:
            found = [each.body.rstrip(b"\0").decode().split() for each in journal.records("run")]
            assert {len(each.body.partition(b"\0")[2]) for each in journal.records()} <= {4_999}
        appended = [int(number) for number, *_ in found]
        assert appended == [each for each in range(len(found) // 3) for _ in range(3)]  # whole appends, in order
        assert set(returned) <= set(appended)
        blobs = FileBlobs(tmp_path, keep_free=0)
        for number, _, sha in found:
            blob = blobs.held(sha)
            assert isinstance(blob, Blob)
            assert blob.path.read_bytes() == content_of(int(number))
        turn = len(found) // 3
        held = blobs.held(hashlib.sha256(content_of(turn)).hexdigest())
        offset = held.size if held else 0
        assert offset >= max((at for word, number, at in said if word == "written" and number == turn), default=0)
        if isinstance(held, Partial):
            part = tmp_path / "partial" / f"{held.sha}.part"
            assert part.read_bytes() == content_of(turn)[:offset]


SUFFERS = """
import hashlib, sys
from contextlib import closing
from pathlib import Path
from hansa.errors import DiskFull
from hansa.store import FileBlobs, Partial, Record, SqliteJournal

folder = Path(sys.argv[1])
content = bytes(range(256)) * 16_384
sha = hashlib.sha256(content).hexdigest()
journal = SqliteJournal(folder / "journal.sqlite")
blobs = FileBlobs(folder, keep_free=0, free=lambda folder: 1 << 40)  # so that the disk itself has to refuse
appended = 0
try:
    while appended < 300:
        journal.append([Record("run", "ask", bytes(20_000)), Record("run", "ask", bytes(20_000))])
        appended += 1
    sys.exit("the disk never got full")
except DiskFull as problem:
    assert "make room" in problem.hint, problem
assert len(list(journal.records())) == 2 * appended
receiver = blobs.receive(sha, len(content))
try:
    for at in range(0, len(content), 100_000):
        receiver.write(content[at : at + 100_000])
    sys.exit("there was room for the blob")
except DiskFull:
    pass
held = blobs.held(sha)
assert held is None or isinstance(held, Partial), held
assert len(list(journal.records())) == 2 * appended
journal.close()
print(appended, held.size if held else 0)
"""


def suffer(folder: Path, **limits: int) -> None:
    """Let a child fill what there is, and see that nothing which it had was lost."""

    def limit() -> None:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    command = [sys.executable, "-c", SUFFERS, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=60)
    assert ended.returncode == 0, ended.stderr
    appended, size = map(int, ended.stdout.split())
    if limits:
        with closing(SqliteJournal(folder / "journal.sqlite")) as journal:
            assert len(list(journal.records())) == 2 * appended
        content = bytes(range(256)) * 16_384
        with closing(
            FileBlobs(folder, keep_free=0).receive(hashlib.sha256(content).hexdigest(), len(content))
        ) as receiver:
            assert receiver.offset == size
            receiver.write(content[size:])
            assert receiver.finish().path.read_bytes() == content


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    suffer(tmp_path, RLIMIT_FSIZE=2 << 20)


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A file system of 3 MB, where this user may mount one."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder],  # noqa: S607 - wherever the system has it
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)  # noqa: S607 - as above


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_file_system_that_is_full(tmp_path: Path) -> None:
    with mounted(tmp_path):
        suffer(tmp_path)
