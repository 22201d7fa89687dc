"""Child processes, real ones: whatever foreign code does in them, the parent lives, learns how it ended, and nothing stays."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hansa.errors import ChildDied, ConfigError, ProtocolError, StoreError
from hansa.experiment.reference import thread_variables
from hansa.runtime.children import launch as launching
from hansa.runtime.children import spawn
from hansa.runtime.children.ended import Ended
from hansa.runtime.children.limits import Limits
from hansa.runtime.children.spawn import Child

PATIENCE = 60.0
"""Seconds after which something is taken to hang; it only ends tests that would never end."""

CANARY = "canary-4711"

T = TypeVar("T")

FOREIGN = """
import os, signal, sys

def echo(channel):
    while (message := channel.receive()) is not None:
        channel.send(message)

def around(channel):
    descriptors = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            descriptors[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the listing's own
    channel.send({"environment": dict(os.environ), "descriptors": descriptors, "folder": os.getcwd(), "argv": sys.argv,
                  "path": sys.path, "parent": os.getppid(), "session": os.getsid(0), "hash": os.environ.get("PYTHONHASHSEED"),
                  "modules": sorted(sys.modules)})

def endless(channel):
    channel.send({"begun": True})
    while True:
        pass

def deaf(channel):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    endless(channel)

def kill_itself(channel):
    os.kill(os.getpid(), signal.SIGKILL)

def crash(channel):
    os.kill(os.getpid(), signal.SIGSEGV)

def exit_at_once(channel):
    os._exit(3)

def exit_politely(channel):
    sys.exit(4)

def exit_with_words(channel):
    sys.exit("these words go into the log")

def leave_threads(channel):
    import threading
    threading.Thread(target=threading.Event().wait).start()

def close_everything(channel):
    os.closerange(0, 100)

def answer_and_raise(channel):
    channel.send({"answer": 1})
    raise ValueError("canary-4711", {"canary-4711": 1})

def flood(channel):
    while True:
        channel.send({"x": "y" * 1000})

def say(channel, data):
    os.write(channel._descriptor, data)

def garbage(channel):
    say(channel, b"\\xff" * 1000)
    signal.pause()

def bomb(channel):
    say(channel, (200000).to_bytes(4, "big") + b"[" * 200000)
    signal.pause()

def half(channel):
    say(channel, b"\\x00\\x00\\x00\\x09{")

def half_and_killed(channel):
    half(channel)
    kill_itself(channel)

def half_and_closed(channel):
    half(channel)
    channel.close()
    signal.pause()

def forge(channel):
    channel.send({"hansa": "raised", "error": {"chain": [{"why": "raised", "type": "a value: canary-4711"}]}})

def forge_another(channel):
    channel.send({"hansa": "ready"})

def print_without_end(channel):
    channel.send({"begun": True})
    while True:
        print("x" * 1000)

def print_much(channel):
    for number in range(3000):
        print(number, "x" * 1000)
    print("the last line", file=sys.stderr)

def families(channel):
    '''A child of the child in its group; one that left group and session; a child of that.'''
    pids = [os.getpid()]
    for leaves in (False, True):
        reading, writing = os.pipe()
        if os.fork() == 0:
            if leaves:
                os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            inner = os.fork()
            os.write(writing, b"%d %d " % (os.getpid(), inner) if inner else b"")
            while True:
                signal.pause()
        pids += map(int, os.read(reading, 100).split())
    channel.send({"pids": pids})
    channel.receive()
"""

MIDDLE = """
import asyncio, json, sys
from pathlib import Path
from hansa.runtime.children.limits import Limits
from hansa.runtime.children.spawn import Child

async def main(home):
    child = await Child.start("foreign:families", limits=Limits(), folder=home / "scratch", log=home / "log", path=[home])
    print(json.dumps([child.pid, *(await child.receive())["pids"]]), flush=True)
    await child.ended()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "foreign.py").write_text(FOREIGN)
    return tmp_path


async def started(home: Path, function: str, *, limits: Limits | None = None, **others: Any) -> Child:
    return await Child.start(
        f"foreign:{function}",
        limits=limits or Limits(),
        folder=home / "scratch",
        log=home / "log",
        path=[home],
        **others,
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            return await work

    return asyncio.run(bounded())


async def whole(home: Path, function: str, **others: Any) -> tuple[list[dict[str, Any]], Ended]:
    """All messages of a child that ends by itself, and how it did."""
    async with await started(home, function, **others) as child:
        messages = [each async for each in child]
        return messages, await child.ended()


def is_there(pid: int) -> bool:
    """Also a zombie is."""
    return Path(f"/proc/{pid}").exists()


def test_a_child_answers(home: Path) -> None:
    async def work() -> None:
        async with await started(home, "echo") as child:
            for number in range(3):
                await child.send({"number": number, "text": "ä" * 100_000})
                assert await child.receive() == {"number": number, "text": "ä" * 100_000}
            pid = child.pid
            assert is_there(pid)
        assert not is_there(pid)
        ended = await child.ended()
        assert (ended.signal, ended.text) == (signal.SIGKILL, "was ended by its parent")
        assert await child.receive() is None
        assert await child.kill("once more") == ended
        with pytest.raises(ChildDied, match="it was ended by its parent"):
            await child.send({})

    run(work())


def test_many_children_at_once(home: Path) -> None:
    async def one(number: int) -> None:
        async with await started(home, "echo") as child:
            await child.send({"number": number})
            assert await child.receive() == {"number": number}

    async def work() -> None:
        await asyncio.gather(*(one(number) for number in range(4)))

    run(work())


def test_it_has_nothing_of_its_parents(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HANSA_SECRET", "PYTHONPATH", "PYTHONHASHSEED", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("TZ", "UTC")
    with (home / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        messages, ended = run(whole(home, "around", env={"OMP_NUM_THREADS": "2"}))
    assert ended.well, (home / "log").read_text()
    (seen,) = messages
    expected = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    scratch = str(home / "scratch")
    tmp = str(home / "scratch" / "tmp")
    own = {
        "HOME": scratch,
        "TMPDIR": tmp,
        "PYTHONDONTWRITEBYTECODE": "1",
        **thread_variables(1),
        "OMP_NUM_THREADS": "2",
    }
    added_by_python = {"LC_CTYPE"}
    assert {name: text for name, text in seen["environment"].items() if name not in added_by_python} == expected | own
    kinds = {name: target.split(":")[0] for name, target in seen["descriptors"].items()}
    assert {kinds.pop("0"), kinds.pop("1"), kinds.pop("2")} == {"/dev/null", "pipe"}
    assert list(kinds.values()) == ["socket"]
    assert seen["folder"] == scratch
    assert seen["argv"] == ["foreign:around"]
    assert seen["path"][0] == str(home)
    assert not [each for each in seen["path"] if each.endswith("hansa/runtime/children")]
    assert seen["session"] != os.getsid(0)
    assert not {"hansa", "numpy", "asyncio", "socket"} & set(seen["modules"]), (
        "a child loads what it needs, and no more"
    )
    for folder in (scratch, tmp):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_its_hansa_is_its_parents(home: Path) -> None:
    (home / "asks.py").write_text(
        "def hansa(channel):\n    import hansa.errors\n    channel.send({'file': hansa.errors.__file__})\n"
    )

    async def work() -> None:
        child = await Child.start("asks:hansa", limits=Limits(), folder=home / "scratch", log=home / "log", path=[home])
        async with child:
            assert await child.receive() == {"file": str(Path(spawn.__file__).parents[2] / "errors.py")}

    run(work())


@pytest.mark.parametrize("function", ["endless", "deaf", "families"])
def test_what_never_ends_is_ended(home: Path, function: str) -> None:
    async def work() -> Ended:
        async with await started(home, function) as child:
            assert await child.receive()
            return await child.kill("took longer than its round")

    ended = run(work())
    assert (ended.code, ended.signal, ended.text) == (None, signal.SIGKILL, "took longer than its round")


def test_its_time_ends(home: Path) -> None:
    messages, ended = run(whole(home, "endless", limits=Limits(seconds=0.5)))
    assert messages in ([], [{"begun": True}])
    assert ended.text == "exceeded its time limit of 0.5 s"


@pytest.mark.parametrize(
    ("function", "code", "by", "text"),
    [
        ("kill_itself", None, signal.SIGKILL, "killed by signal 9 (out of memory, or somebody killed it)"),
        ("crash", None, signal.SIGSEGV, "killed by signal 11 (native code went wrong)"),
        ("exit_at_once", 3, None, "ended by itself with exit status 3"),
        ("exit_politely", 4, None, "ended by itself with exit status 4"),
        ("exit_with_words", 1, None, "ended by itself with exit status 1"),
        ("leave_threads", 0, None, "ended as it should"),
        ("close_everything", 0, None, "ended as it should"),
        (
            "no_such_function",
            70,
            None,
            "ended with an exception: AttributeError in hansa/runtime/children/hansa_child/main.py",
        ),
    ],
)
def test_how_it_ended(home: Path, function: str, code: int | None, by: int | None, text: str) -> None:
    messages, ended = run(whole(home, function))
    assert messages == []
    assert (ended.code, ended.signal) == (code, by)
    assert ended.text.startswith(text)


def test_its_words_are_in_the_log(home: Path) -> None:
    run(whole(home, "exit_with_words"))
    run(whole(home, "crash"))
    assert "these words go into the log" in (home / "log").read_text()
    assert "Segmentation fault" in (home / "log").read_text(), "a native crash leaves its stack"


def test_of_an_exception_its_place_leaves_and_its_values_stay(home: Path) -> None:
    messages, ended = run(whole(home, "answer_and_raise"))
    assert messages == [{"answer": 1}]
    line = FOREIGN[: FOREIGN.index("raise ValueError")].count("\n") + 1
    assert ended.text == f"ended with an exception: ValueError in foreign.py, line {line}, in answer_and_raise"
    assert CANARY not in json.dumps(ended.trace)
    assert CANARY in (home / "log").read_text(), "its owner sees all of it"


def test_its_owner_may_let_the_message_leave(home: Path) -> None:
    _, ended = run(whole(home, "answer_and_raise", widen=True))
    assert ended.trace is not None
    assert CANARY in ended.trace["chain"][0]["message"]


def test_what_it_said_last_can_be_received_after_its_end(home: Path) -> None:
    async def work() -> None:
        async with await started(home, "answer_and_raise") as child:
            ended = await child.ended()
            assert ended.trace is not None
            assert [each async for each in child] == [{"answer": 1}]

    run(work())


def test_a_flood_waits_for_its_reader(home: Path) -> None:
    async def work() -> None:
        async with await started(home, "flood") as child:
            for _ in range(500):
                assert await child.receive() == {"x": "y" * 1000}
            assert len(child._channel._came) <= 2**16
            await child.kill()

    run(work())


@pytest.mark.parametrize("function", ["garbage", "bomb", "half", "half_and_closed", "forge", "forge_another"])
def test_what_is_no_message_ends_it(home: Path, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if function == "half_and_closed":
        monkeypatch.setattr(spawn, "_END_PATIENCE", 0.2)

    async def work() -> Ended:
        async with await started(home, function) as child:
            with pytest.raises(ProtocolError, match="child") as found:
                await child.receive()
            assert CANARY not in str(found.value)
            return await child.ended()

    ended = run(work())
    assert ended.code == 0 or "broke the rules of its channel" in ended.text
    assert CANARY not in ended.text


def test_a_message_torn_by_death_is_death(home: Path) -> None:
    messages, ended = run(whole(home, "half_and_killed"))
    assert (messages, ended.signal) == ([], signal.SIGKILL)


def test_a_printing_loop_does_not_fill_the_disk(home: Path) -> None:
    async def work() -> None:
        async with await started(home, "print_without_end", log_bytes=100_000, limits=Limits(seconds=1.0)) as child:
            ended = await child.ended()
            assert ended.text == "exceeded its time limit of 1 s"

    run(work())
    assert 50_000 < sum(each.stat().st_size for each in home.glob("log*")) <= 100_000


def test_the_end_of_much_output_is_kept(home: Path) -> None:
    run(whole(home, "print_much", log_bytes=2**20))
    assert sum(each.stat().st_size for each in home.glob("log*")) <= 2**20
    assert (home / "log").read_text().endswith("\nthe last line\n")


@pytest.mark.parametrize("by_itself", [True, False])
def test_all_descendants_end_with_it_and_are_reaped(home: Path, by_itself: bool) -> None:
    async def work() -> list[int]:
        async with await started(home, "families") as child:
            first = await child.receive()
            assert first is not None
            pids: list[int] = [child.pid, *first["pids"]]
            assert len(pids) == 6
            assert all(is_there(each) for each in pids)
            if by_itself:
                await child.send({"end": True})
            else:
                await child.kill()
            await child.ended()
            return pids

    assert [each for each in run(work()) if is_there(each)] == []


def test_a_warden_that_cannot_answer_is_killed_with_its_group(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "_END_PATIENCE", 0.1)

    async def work() -> int:
        async with await started(home, "endless") as child:
            assert await child.receive()
            os.kill(child.pid, signal.SIGSTOP)
            assert (await child.kill()).signal == signal.SIGKILL
            return child.pid

    assert not is_there(run(work()))


def test_when_its_parent_is_killed_nothing_of_it_stays(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", MIDDLE, home], stdout=subprocess.PIPE) as middle:
        assert middle.stdout is not None
        line = middle.stdout.readline()
        pids: list[int] = json.loads(line)
        watched = [os.pidfd_open(each) for each in pids]
        assert len(watched) == 6
        middle.kill()
        for each in watched:
            ended, _, _ = select.select([each], [], [], PATIENCE)
            os.close(each)
            assert ended


def test_a_cancelled_start_leaves_no_child(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    launch = launching.launch

    def watched(*arguments: Any) -> Any:
        launched = launch(*arguments)
        made.append(launched.process.pid)
        return launched

    monkeypatch.setattr(launching, "launch", watched)

    async def work() -> None:
        starting = asyncio.create_task(started(home, "endless"))
        while not made:
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not is_there(made[0])

    run(work())


@pytest.mark.parametrize("target", ["foreign", "foreign:", ":echo", "foreign:echo()", "foreign:a.b", "os; x:y"])
def test_a_target_that_names_no_function(home: Path, target: str) -> None:
    with pytest.raises(ConfigError, match="names no function"):
        run(Child.start(target, limits=Limits(), folder=home / "scratch", log=home / "log"))


@pytest.mark.parametrize(
    ("others", "error", "text"),
    [
        ({"python": Path("/no/such/python")}, ConfigError, "cannot be started"),
        ({"python": Path("/bin/false")}, ChildDied, "did not start: it ended by itself with exit status 1"),
        ({"limits": Limits(user="no-such-user")}, ConfigError, "no user 'no-such-user'"),
        ({"env": {"A": "\0"}}, ConfigError, "cannot be started"),
    ],
)
def test_what_cannot_start(home: Path, others: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(started(home, "echo", **others))


def test_folders_that_cannot_be(home: Path) -> None:
    (home / "file").write_text("")
    for folder, log in ((home / "file", home / "log"), (home / "scratch", home / "nowhere" / "log")):
        with pytest.raises(StoreError):
            run(Child.start("foreign:echo", limits=Limits(), folder=folder, log=log))
