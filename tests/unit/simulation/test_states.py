"""Private states are a mapping like any other, in memory or on disk, and leave nothing behind."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from hansa.core.tree import Tree
from hansa.errors import InputError, StoreError
from hansa.simulation.states import ClientStates
from hansa.testing.laws import unlike_bits

MANY = 100_000


def state(number: float) -> Tree:
    return {"w": np.full(3, number, np.float32), "count": np.array(int(number), np.int64)}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


class TestWhereverTheyAre:
    """In memory, on disk because they are too large for it, and in a file of the user's."""

    @pytest.fixture(params=["memory", "spilled", "named"])
    def states(self, request: pytest.FixtureRequest, tmp_path: Path) -> ClientStates:
        path = tmp_path / "states.sqlite" if request.param == "named" else None
        return ClientStates(budget=0 if request.param == "spilled" else 2**20, path=path)

    def test_every_bit_and_dtype_comes_back(self, states: ClientStates) -> None:
        given: Tree = {
            "half": np.array([[1, np.nan], [-0.0, np.inf]], np.float16),
            "brain": np.array([1.5, -2], ml_dtypes.bfloat16),
            "tiny": np.array([0.5], ml_dtypes.float8_e4m3fn),
            "flag": np.array(True),
            "none": np.zeros((0, 4), np.float64),
            "swapped": np.arange(3, dtype=">i4"),
            "turned": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
        }
        states["a"] = given
        found = states["a"]
        expected = {name: leaf.astype(leaf.dtype.newbyteorder("="), order="C") for name, leaf in given.items()}
        assert unlike_bits(found, expected) == ""
        assert list(found) == sorted(given)
        assert all(leaf.ctypes.data % 64 == 0 for leaf in found.values() if leaf.size)

    def test_what_is_set_is_a_copy_and_what_comes_out_is_read_only(self, states: ClientStates) -> None:
        mine = np.zeros(3)
        states["a"] = {"w": mine}
        mine += 1
        assert states["a"]["w"].tolist() == [0, 0, 0]
        with pytest.raises(ValueError, match="read-only"):
            states["a"]["w"][0] = 1

    def test_an_empty_state_is_there(self, states: ClientStates) -> None:
        states["a"] = {}
        assert "a" in states
        assert states["a"] == {}

    def test_who_is_not_there(self, states: ClientStates) -> None:
        states["a"] = state(1)
        assert states.get("b") is None
        for ask in (lambda: states["b"], lambda: states.pop("b"), lambda: states.__delitem__("b")):
            with pytest.raises(KeyError, match="b"):
                ask()

    def test_clients_stay_in_the_order_in_which_they_came(self, states: ClientStates) -> None:
        for client in ("c", "a", "b", "a"):
            states[client] = state(1)
        del states["c"]
        states["c"] = state(2)
        assert list(states) == ["a", "b", "c"]
        assert [client for client, _ in states.items()] == ["a", "b", "c"]

    def test_a_snapshot_stays_as_it_was(self, states: ClientStates) -> None:
        for number, client in enumerate("abcd"):
            states[client] = state(number)
        view = states.snapshot()
        states["a"] = state(10)
        states["a"] = state(11)
        states["new"] = state(12)
        del states["b"]
        later = states.snapshot()
        del states["new"], states["c"]
        assert {client: found["count"] for client, found in view.items()} == {"a": 0, "b": 1, "c": 2, "d": 3}
        assert len(view) == 4
        assert "new" not in view
        assert {client: found["count"] for client, found in later.items()} == {"a": 11, "c": 2, "d": 3, "new": 12}
        assert sorted(states) == ["a", "d"]

    def test_going_back_to_a_snapshot(self, states: ClientStates) -> None:
        states["a"], states["b"] = state(1), state(2)
        view = states.snapshot()
        states["a"], states["c"] = state(3), state(4)
        states.clear()
        assert len(states) == len(list(states)) == 0
        states.update(view)
        assert {client: int(found["count"]) for client, found in states.items()} == {"a": 1, "b": 2}

    def test_threads_may_share_it(self, states: ClientStates) -> None:
        def work(first: int) -> None:
            for number in range(first, first + 50):
                states[str(number)] = state(number)
                assert states[str(number)]["count"] == number

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 50)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(states) == 100
        assert sorted(map(int, states)) == list(range(100))


def test_goes_to_disk_when_the_budget_is_spent_and_keeps_all() -> None:
    states = ClientStates(budget=10_000)
    states["0"] = state(0)
    assert repr(states) == "ClientStates(1 clients, in memory)"
    view = states.snapshot()
    for number in range(1, 100):
        states[str(number)] = state(number)
    assert repr(states) == "ClientStates(100 clients, on disk)"
    assert [int(states[str(number)]["count"]) for number in range(100)] == list(range(100))
    states["0"] = state(-1)
    assert view["0"]["count"] == 0


def test_replaced_and_deleted_states_give_their_room_back() -> None:
    states = ClientStates(budget=10_000)
    for number in range(200):
        states["a"] = state(number)
        states["b"] = state(number)
        del states["b"]
    assert "in memory" in repr(states)


def test_what_no_file_holds_stays_in_memory_beyond_the_budget() -> None:
    states = ClientStates(budget=0)
    states["a"] = {"names": np.array(["x", "yz"]), "z": np.array(1j), "any": np.array([None])}
    assert states["a"]["names"].tolist() == ["x", "yz"]
    states["a"] = state(1)
    assert states["a"]["count"] == 1
    states["a"] = {"names": np.array([""])}
    assert list(states) == ["a"]
    del states["a"]
    assert len(states) == 0


def test_a_file_of_ones_own_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "states.sqlite"
    with ClientStates(path=path) as states:
        states["a"], states["b"] = state(1), state(2)
        with pytest.raises(StoreError, match="locked"):
            ClientStates(path=path)
        with pytest.raises(InputError, match="leaf 'names' has dtype"):
            states["c"] = {"names": np.array(["x"])}
    with ClientStates(path=path) as again:
        assert {client: int(found["count"]) for client, found in again.items()} == {"a": 1, "b": 2}
    assert [each.name for each in tmp_path.iterdir()] == ["states.sqlite"]


def test_files_of_others_are_not_touched(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("not a database, but long enough to be taken for one " * 20)
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE theirs (id)")
    database.close()
    before = other.read_bytes()
    for path, said in (
        (text, "not a database"),
        (other, "no file of clients' states"),
        (tmp_path / "no" / "x", "unable"),
    ):
        with pytest.raises(StoreError, match=said) as caught:
            ClientStates(path=path)
        assert str(path) in caught.value.where
        del caught
    assert other.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_nothing_is_open_when_it_is_closed_or_forgotten() -> None:
    before = descriptors()
    with ClientStates(budget=0) as states:
        for number in range(3_000):  # more than SQLite keeps in memory, so that there is a file
            states[str(number)] = {"w": np.zeros(1_000)}
        assert descriptors() > before
    assert descriptors() == before
    states = ClientStates(budget=0)
    for number in range(3_000):
        states[str(number)] = {"w": np.zeros(1_000)}
    del states
    gc.collect()
    assert descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="looks for open files in /proc")
def test_a_process_that_is_killed_leaves_no_file(tmp_path: Path) -> None:
    program = """
import contextlib, os, signal, numpy as np
from hansa.simulation.states import ClientStates
states = ClientStates(budget=0)
for number in range(3_000):
    states[str(number)] = {"w": np.zeros(1_000)}
files = []
for each in os.listdir("/proc/self/fd"):
    with contextlib.suppress(OSError):
        files.append(os.readlink(f"/proc/self/fd/{each}"))
assert any(os.environ["SQLITE_TMPDIR"] in each for each in files), files
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "SQLITE_TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -9, ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads this process' size in /proc")
def test_memory_stays_bounded_with_a_hundred_thousand_states() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    kept = {"w": np.zeros(16, np.float32)}  # with what Python needs for it more than half a kilobyte
    with ClientStates(budget=2**20) as states:
        before = resident()
        for number in range(MANY):
            states[str(number)] = kept
        assert len(states) == MANY
        assert resident() - before < 24 * 2**20, "more than the budget and SQLite's own 8 MiB is in memory"


def test_no_object_is_left_of_a_state_on_disk() -> None:
    with ClientStates(budget=2**16) as states:
        tracemalloc.start()
        for number in range(3_000):
            states[str(number)] = state(number)
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept < 2**18, "states that are on disk are in memory as well"
