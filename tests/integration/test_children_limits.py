"""The limits of a child, tried from inside: what the system says it holds, foreign code runs into, and its parent does not."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hansa.errors import ChildDied, ConfigError
from hansa.runtime.children.ended import Ended
from hansa.runtime.children.limits import Held, Limits, probe
from hansa.runtime.children.spawn import Child

PATIENCE = 60.0
"""Seconds after which something is taken to hang; it only ends tests that would never end."""

MEMORY = 256 * 2**20

FOREIGN = """
import os, resource, signal, socket

def attempt(channel, what):
    try:
        channel.send({"did": what()})
    except OSError as error:
        channel.send({"refused": type(error).__name__})

def take_memory(channel):
    channel.send({"small": len(bytearray(16 * 2**20))})
    taken = []
    while True:
        taken.append(bytearray(16 * 2**20))

def take_all_at_once(channel):
    bytearray(2**40)

def catch_and_go_on(channel):
    try:
        bytearray(2**40)
    except MemoryError:
        channel.send({"caught": True})

def take_and_fail_as_torch_does(channel):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4711 bytes")

def reserve_addresses(channel):
    import ctypes
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    channel.send({"reserved": libc.mmap(None, 2**40, 0, 0x4022, -1, 0) != ctypes.c_void_p(-1).value})

def write_a_large_file(channel):
    with open("large", "wb", buffering=0) as file:
        attempt(channel, lambda: [file.write(b"x" * 2**20) for _ in range(4)])

def lift(channel):
    for which in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        try:
            resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            channel.send({"lifted": which})
        except (ValueError, OSError):
            pass

def look(channel):
    with open("/proc/self/status") as file:
        status = {name: text.strip() for name, _, text in (line.partition(":") for line in file)}
    channel.send({
        "processors": len(os.sched_getaffinity(0)), "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "open": resource.getrlimit(resource.RLIMIT_NOFILE)[1], "nice": os.nice(0), "uid": os.getuid(), "gid": os.getgid(),
        "groups": os.getgroups(), "no new": status["NoNewPrivs"], "capabilities": status["CapEff"], "bound": status["CapBnd"],
        "oom": int(open("/proc/self/oom_score_adj").read()),
    })

def connect(channel):
    port = channel.receive()["port"]
    attempt(channel, lambda: socket.create_connection(("127.0.0.1", port), timeout=20).close())

def reach_its_parent(channel):
    parent = channel.receive()["parent"]
    attempt(channel, lambda: os.kill(parent, 0))
    attempt(channel, lambda: open(f"/proc/{parent}/environ", "rb").close())
    attempt(channel, lambda: open(f"/proc/{parent}/mem", "rb").close())
    attempt(channel, lambda: os.kill(os.getppid(), 0))

def write_in_its_folder(channel):
    for name in (os.getcwd(), os.environ["HOME"], os.environ["TMPDIR"]):
        with open(name + "/mine", "w") as file:
            file.write("mine")
    channel.send({"uid": os.getuid(), "owner": os.stat("mine").st_uid, "groups": os.getgroups()})
"""

ALL = Limits(memory=2**30, cpu=1, files=2**30)


@pytest.fixture(scope="session")
def system() -> Held:
    """What this machine holds."""
    return probe()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "foreign.py").write_text(FOREIGN)
    return tmp_path


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A folder that any user can reach; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "foreign.py").write_text(FOREIGN)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def open_python() -> Path:
    """An interpreter that the user nobody can read: this one may lie in somebody's home."""
    for each in (Path(sys.executable), Path("/usr/bin/python3")):
        if each.exists() and "user" in probe(Limits(user="nobody"), python=each).held:
            return each
    pytest.skip("there is no user nobody, or no Python for it")


def run(
    home: Path, function: str, limits: Limits, first: dict[str, Any] | None = None, **others: Any
) -> tuple[list[dict[str, Any]], Ended, Held]:
    """All messages of a child that ends by itself, how it did, and what it was held by."""

    async def work() -> tuple[list[dict[str, Any]], Ended, Held]:
        async with (
            asyncio.timeout(PATIENCE),
            await Child.start(
                f"foreign:{function}", limits=limits, folder=home / "scratch", log=home / "log", path=[home], **others
            ) as child,
        ):
            if first is not None:
                await child.send(first)
            messages = [each async for each in child]
            return messages, await child.ended(), child.held

    return asyncio.run(work())


def needs(system: Held, name: str) -> None:
    if name not in system.held:
        pytest.skip(f"this system does not hold {name!r}: {system.refused[name]}")


def test_the_system_says_of_every_limit_whether_it_holds(system: Held, home: Path) -> None:
    names = {"memory", "cpu", "network", "files", "core", "descriptors", "priority", "first to go", "privileges"}
    assert set(system.held) | set(system.refused) == names | {"other processes", "memory dumps"}
    assert not set(system.held) & set(system.refused)
    assert all(each.strip() for each in (*system.held.values(), *system.refused.values()))
    _, _, held = run(home, "look", ALL)
    assert (held.held.keys(), held.refused) == (system.held.keys(), system.refused), "a child reports the same"


def test_what_nobody_asked_for_is_not_limited() -> None:
    held = probe(Limits(network=True))
    assert not {"memory", "cpu", "network", "files", "user"} & (set(held.held) | set(held.refused))


def test_an_interpreter_that_does_not_run() -> None:
    for python in (Path("/no/such/python"), Path("/bin/false")):
        with pytest.raises(ChildDied, match="cannot try"):
            probe(python=python)


def test_where_a_limit_must_hold_and_does_not_no_foreign_line_runs(home: Path) -> None:
    (home / "foreign.py").write_text("open('ran', 'w')\ndef run(channel): pass\n")
    run(home, "run", Limits())
    ran = home / "scratch" / "ran"
    assert ran.exists()
    ran.unlink()
    with pytest.raises(ConfigError, match="must hold does not: memory, which was not asked for"):
        run(home, "run", Limits(), must=["core", "memory"])
    assert not ran.exists()


@pytest.mark.parametrize("function", ["take_memory", "take_all_at_once"])
def test_memory_ends_at_its_limit(home: Path, system: Held, function: str) -> None:
    needs(system, "memory")
    messages, ended, held = run(home, function, Limits(memory=MEMORY))
    assert messages in ([], [{"small": 16 * 2**20}])
    assert ended.text == "ran out of its memory limit of 256 MiB"
    assert ended.trace is not None
    assert ended.trace["chain"][0]["type"] == "builtins.MemoryError"
    assert held.held["memory"] == "256 MiB for each process (RLIMIT_DATA)"


def test_the_way_that_pytorch_runs_out_of_memory_counts_too(home: Path) -> None:
    _, ended, _ = run(home, "take_and_fail_as_torch_does", Limits())
    assert ended.text == "ran out of memory"


def test_foreign_code_may_deal_with_it(home: Path, system: Held) -> None:
    needs(system, "memory")
    messages, ended, _ = run(home, "catch_and_go_on", Limits(memory=MEMORY))
    assert (messages, ended.well) == ([{"caught": True}], True)


def test_addresses_that_are_only_reserved_are_free(home: Path) -> None:
    messages, _, _ = run(home, "reserve_addresses", Limits(memory=MEMORY))
    assert messages == [{"reserved": True}]


def test_files_end_at_their_limit(home: Path) -> None:
    messages, _, _ = run(home, "write_a_large_file", Limits(files=2**21))
    assert messages == [{"refused": "OSError"}]
    assert (home / "scratch" / "large").stat().st_size == 2**21


def test_limits_cannot_be_lifted_again_even_by_root(home: Path, system: Held) -> None:
    needs(system, "privileges")
    messages, ended, _ = run(home, "lift", ALL)
    assert (messages, ended.well) == ([], True)


def test_what_a_child_sees_of_itself(home: Path, system: Held) -> None:
    (seen,), _, held = run(home, "look", ALL)
    assert seen["processors"] == 1
    assert seen["core"] == 0
    assert seen["open"] <= 4096
    if "priority" in held.held:
        assert seen["nice"] == min(os.nice(0) + 5, 19)
    if "first to go" in held.held:
        assert seen["oom"] == 1000
    if "privileges" in held.held:
        assert seen["no new"] == "1"
        assert int(seen["capabilities"], 16) & ~0b1011 == 0
    assert (seen["uid"], seen["gid"]) == (os.getuid(), os.getgid()), "files that it makes are its parent's"


@pytest.mark.parametrize("network", [False, True])
def test_the_network(home: Path, system: Held, network: bool) -> None:
    if not network:
        needs(system, "network")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = {"port": listener.getsockname()[1]}
        messages, _, _ = run(home, "connect", Limits(network=network), first)
    assert messages == [{"did": None} if network else {"refused": "OSError"}]


def test_it_reaches_no_process_outside(home: Path, system: Held) -> None:
    needs(system, "other processes")
    messages, _, _ = run(home, "reach_its_parent", Limits(), {"parent": os.getpid()})
    assert messages == [{"refused": "PermissionError"}] * 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a child as another user")
def test_another_user(open_home: Path, open_python: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    messages, ended, held = run(
        open_home, "write_in_its_folder", Limits(user="nobody", memory=MEMORY), python=open_python, must=["user"]
    )
    assert "user" in held.held, held.refused
    assert "scratch" not in held.refused
    assert messages == [{"uid": nobody.pw_uid, "owner": nobody.pw_uid, "groups": []}], (open_home / "log").read_text()
    assert ended.well
    assert (open_home / "scratch").stat().st_uid == nobody.pw_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a child as another user")
def test_another_user_who_cannot_reach_the_folder(home: Path, open_python: Path) -> None:
    home.parent.chmod(0o700)
    _, _, held = run(home, "look", Limits(user="nobody"), python=open_python)
    assert "cannot write in its folder" in held.refused["scratch"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can")
def test_another_user_is_refused_to_all_but_root() -> None:
    assert "only root" in probe(Limits(user="nobody")).refused["user"]
