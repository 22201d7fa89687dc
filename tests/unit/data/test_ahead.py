"""What is prepared ahead comes in order, fails in its place, and leaves no thread behind."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from hansa.data.ahead import ahead
from hansa.errors import ConfigError


def threads() -> list[str]:
    """Those of `ahead`; what other tests' libraries began may end at any time."""
    return [thread.name for thread in threading.enumerate() if thread.name == "hansa ahead"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 2, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_the_same_items_in_the_same_order(depth: int, count: int) -> None:
    assert list(ahead(range(count), depth)) == list(range(count))


def test_at_most_so_many_wait_and_the_next_is_computed_meanwhile() -> None:
    computed, enough = threading.Semaphore(0), threading.Event()
    counted: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            counted.append(number)
            computed.release()
            yield number
        enough.set()

    with contextlib.closing(ahead(items(), depth=3)) as taken:
        assert next(taken) == 0
        for _ in range(4):  # the one that was taken, and three that wait
            assert computed.acquire(timeout=10)
        assert not computed.acquire(timeout=0.05)
        assert counted == [0, 1, 2, 3]
    assert not enough.is_set()


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    def items() -> Iterator[int]:
        raise AssertionError("computed")
        yield 0

    unused = ahead(items())
    assert threads() == []
    unused.close()


def test_what_an_item_raises_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("no third")

    taken = ahead(items(), depth=10)
    assert [next(taken), next(taken)] == [1, 2]
    with pytest.raises(LookupError, match="no third"):
        next(taken)
    assert next(taken, None) is None


def test_what_cannot_be_iterated_fails_at_the_first() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        next(ahead(3))  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("how", ["close", "forget", "raise"])
def test_leaving_early_ends_the_thread_and_closes_the_items(how: str) -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    taken = ahead(items())
    assert next(taken) == 0
    if how == "close":
        taken.close()
    elif how == "raise":
        with pytest.raises(KeyboardInterrupt), contextlib.closing(taken):
            raise KeyboardInterrupt
    del taken
    gc.collect()
    assert closed.is_set()


def test_the_thread_sees_the_context_of_whoever_asked() -> None:
    where = contextvars.ContextVar("where", default="outside")
    where.set("inside")
    assert list(ahead(where.get() for _ in range(2))) == ["inside", "inside"]


def test_two_of_them_in_each_other() -> None:
    with contextlib.closing(ahead(ahead(range(1_000)))) as taken:
        assert [next(taken) for _ in range(3)] == [0, 1, 2]


def test_depths_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="at least one item is prepared ahead, not 0"):
        ahead([], 0)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_while_it_waits_ends_the_program_at_once() -> None:
    program = """
import signal, threading
from hansa.data.ahead import ahead
def interrupted(*_):
    stop.set()  # the item under way is waited for, so that it must see the interrupt too
    raise KeyboardInterrupt
def items():
    yield 1
    print("waiting", flush=True)
    stop.wait(60)
stop = threading.Event()
signal.signal(signal.SIGINT, interrupted)
try:
    for each in ahead(items()):
        pass
except KeyboardInterrupt:
    pass
assert threading.active_count() == 1, threading.enumerate()
print("ended", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        os.kill(child.pid, signal.SIGINT)
        assert child.stdout.readline() == "ended\n"
        assert child.wait(10) == 0
