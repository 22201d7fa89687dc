"""Children where there is no warden, as on macOS and Windows: dialling back, bounded as far as that goes, and ended."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hansa.errors import ChildDied
from hansa.runtime.children import launch
from hansa.runtime.children.limits import Limits
from hansa.runtime.children.spawn import Child

FOREIGN = """
import os, sys, time

def echo(channel):
    while (message := channel.receive()) is not None:
        channel.send({"echo": message, "stdin": os.read(0, 1).decode()})

def large(channel):
    channel.send({"text": "x" * 10_000_000})

def raises(channel):
    raise ValueError("secret")

def endless(channel):
    channel.send({"pid": os.getpid()})
    while True:
        time.sleep(1)
"""

PARENT = """
import asyncio, sys
from pathlib import Path
from hansa.runtime.children import launch
from hansa.runtime.children.limits import Limits
from hansa.runtime.children.spawn import Child

launch.WARDEN = False

async def main(home):
    child = await Child.start(
        "foreign:endless", limits=Limits(), folder=home / "scratch", log=home / "log", path=[home]
    )
    print((await child.receive())["pid"], flush=True)
    await child.ended()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(launch, "WARDEN", False)
    (tmp_path / "foreign.py").write_text(FOREIGN)
    return tmp_path


async def started(home: Path, function: str, limits: Limits | None = None) -> Child:
    return await Child.start(
        f"foreign:{function}", limits=limits or Limits(), folder=home / "scratch", log=home / "log", path=[home]
    )


def test_it_speaks_with_its_parent_and_reads_nothing_else(home: Path) -> None:
    async def work() -> None:
        async with await started(home, "echo") as child:
            await child.send({"n": 1})
            assert await child.receive() == {"echo": {"n": 1}, "stdin": ""}
            await child.send({"n": 2})
            assert await child.receive() == {"echo": {"n": 2}, "stdin": ""}

    asyncio.run(work())


def test_a_large_message_comes_whole_and_it_ends_well(home: Path) -> None:
    async def work() -> None:
        child = await started(home, "large")
        message = await child.receive()
        assert message is not None
        assert len(message["text"]) == 10_000_000
        assert (await child.ended()).well

    asyncio.run(work())


def test_what_it_raises_is_told_without_its_values(home: Path) -> None:
    async def work() -> None:
        ended = await (await started(home, "raises")).ended()
        assert ended.code == 70
        assert "ValueError" in ended.text
        assert "secret" not in ended.text

    asyncio.run(work())


def test_it_is_ended_when_its_time_is_up(home: Path) -> None:
    async def work() -> None:
        child = await started(home, "endless", Limits(seconds=0.5))
        ended = await child.ended()
        assert ended.signal == signal.SIGKILL
        assert "exceeded its time limit" in ended.text

    asyncio.run(work())


def test_one_that_ends_before_it_dials_is_told_of(home: Path) -> None:
    async def work() -> None:
        (home / "python").write_text("#!/bin/sh\nexit 3\n")
        (home / "python").chmod(0o755)
        with pytest.raises(ChildDied, match=r"did not start: it ended by itself with exit status 3"):
            await Child.start(
                "foreign:echo", limits=Limits(), folder=home / "s", log=home / "log", python=home / "python"
            )

    asyncio.run(work())


def test_who_does_not_know_the_word_is_not_taken_for_it(home: Path) -> None:
    deaf = home / "python"  # it dials nobody, and stays
    deaf.write_text("#!/bin/sh\nexec cat\n")
    deaf.chmod(0o755)
    launched = launch.launch(
        deaf,
        {"folders": [str(home)]},
        Limits(),
        {},
        home / "log",
        2**20,
    )
    assert launched.listening is not None
    address = launched.listening.getsockname()

    async def work() -> None:
        meeting = asyncio.create_task(launched.met())
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"0" * 64)
        assert await reader.read() == b""
        assert not meeting.done() or meeting.exception() is None
        launched.process.kill()
        end = await meeting
        end.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(end, 1) == b""
        end.close()
        writer.close()

    asyncio.run(work())
    launched.process.wait()
    if launched.process.stdin is not None:
        launched.process.stdin.close()


def test_it_goes_with_its_parent(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(home)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    status = Path(f"/proc/{pid}/stat")
    pause = threading.Event()
    for _ in range(1000):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        pause.wait(0.02)
    pytest.fail("it stayed")
