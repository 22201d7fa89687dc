"""Limits that make no sense, and how a child's end is put into words."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from hansa.errors import ConfigError, ProtocolError
from hansa.runtime.children.ended import Ended
from hansa.runtime.children.hansa_child.confine import size_text
from hansa.runtime.children.limits import Held, Limits

TRACE = {
    "chain": [
        {"why": "raised", "type": "builtins.ValueError", "frames": [{"file": "a.py", "line": 3, "function": "f"}]}
    ]
}


@pytest.mark.parametrize(
    ("status", "limits", "raised", "why", "text"),
    [
        (0, Limits(), None, "", "ended as it should"),
        (0, Limits(), None, "was ended by its parent", "ended as it should"),
        (3, Limits(), None, "", "ended by itself with exit status 3"),
        (70, Limits(), None, "", "ended by itself with exit status 70"),
        (70, Limits(), TRACE, "", "ended with an exception: ValueError in a.py, line 3, in f"),
        (71, Limits(memory=2 * 2**30), None, "", "ran out of its memory limit of 2 GiB"),
        (71, Limits(), None, "", "ran out of memory"),
        (73, Limits(), None, "", "found its parent gone"),
        (-9, Limits(), None, "", "killed by signal 9 (out of memory, or somebody killed it)"),
        (-9, Limits(), None, "exceeded its time limit of 60 s", "exceeded its time limit of 60 s"),
        (-11, Limits(), None, "", "killed by signal 11 (native code went wrong)"),
        (
            -signal.SIGABRT,
            Limits(memory=2**30),
            None,
            "",
            "killed by signal 6 (native code gave up, perhaps for lack of memory: it had a limit of 1 GiB)",
        ),
        (-signal.SIGUSR1, Limits(), None, "", "killed by signal 10 (SIGUSR1)"),
        (-40, Limits(), None, "", "killed by signal 40 (a real-time signal)"),
    ],
)
def test_the_words(status: int, limits: Limits, raised: Any, why: str, text: str) -> None:
    ended = Ended.of(status, limits, raised, why)
    assert ended.text == text
    assert (ended.code, ended.signal) == ((status, None) if status >= 0 else (None, -status))
    assert ended.well is (status == 0)
    assert ended.trace is raised


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory": 0},
        {"memory": 2**20},
        {"cpu": 0},
        {"files": -1},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"user": ""},
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Limits(**wrong)


def test_what_is_held_is_two_tables_of_text() -> None:
    assert Held.of({"a": "b"}, {}) == Held({"a": "b"}, {})
    with pytest.raises(ProtocolError):
        Held.of([], {})


def test_sizes_for_people() -> None:
    assert [size_text(each) for each in (0, 1023, 1024, 3 * 2**19, 2 * 2**30)] == [
        "0 bytes",
        "1023 bytes",
        "1 KiB",
        "1.5 MiB",
        "2 GiB",
    ]
