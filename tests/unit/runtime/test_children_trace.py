"""What of an exception may leave: its type, files, lines and functions, and nothing that it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hansa.errors import DataError, ProtocolError
from hansa.runtime.children.trace import MOST_LINKS, brief, checked, render, what_leaves

CANARY = "canary-4711"


class SecretError(Exception):
    """Says its arguments, as exceptions do."""


def caught(raising: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as found:
        raising()
    return found.value


def raise_with_values(secret: str = CANARY) -> None:
    local = {secret: [secret]}
    try:
        raise KeyError(secret, local)
    except KeyError as error:
        error.add_note(secret)
        raise SecretError(secret, local) from error


def raise_ours() -> None:
    raise DataError(f"found {CANARY}", where=CANARY, hint=CANARY)


def raise_group() -> None:
    raise ExceptionGroup(CANARY, [ValueError(CANARY), ExceptionGroup(CANARY, [OSError(5, CANARY, CANARY)])])


def raise_while_handling() -> None:
    try:
        int(CANARY)
    except ValueError:
        {}[CANARY]  # type: ignore[index]


def raise_from_made_up_code() -> None:
    exec(compile(f"raise ValueError({CANARY!r})", f"/home/{CANARY}.py", "exec"))  # noqa: S102 - the test's point


def raise_syntax() -> None:
    compile(f"{CANARY} = (", f"<{CANARY}>", "exec")


def raise_named_after_it() -> None:
    raise type(f"A {CANARY}", (Exception,), {})


def raise_unicode() -> None:
    CANARY.encode().decode("utf-16")


RAISERS = [
    raise_with_values,
    raise_ours,
    raise_group,
    raise_while_handling,
    raise_from_made_up_code,
    raise_syntax,
    raise_named_after_it,
    raise_unicode,
    lambda: json.loads(CANARY),
]


@pytest.mark.parametrize("raising", RAISERS)
def test_no_value_leaves(raising: Callable[[], object]) -> None:
    trace = what_leaves(caught(raising))
    for text in (json.dumps(trace), render(trace), brief(trace), json.dumps(checked(json.loads(json.dumps(trace))))):
        assert CANARY not in text
        assert str(Path.home()) not in text.replace(sys.prefix, "")


@pytest.mark.parametrize("raising", RAISERS)
def test_what_leaves_passes_the_parents_check_unchanged(raising: Callable[[], object]) -> None:
    trace = what_leaves(caught(raising))
    assert checked(json.loads(json.dumps(trace))) == trace
    wide = what_leaves(caught(raising), widen=True)
    assert checked(json.loads(json.dumps(wide)), widen=True) == wide


def test_the_message_leaves_only_where_it_was_widened_on_both_sides() -> None:
    wide = what_leaves(caught(raise_ours), widen=True)
    assert CANARY in wide["chain"][0]["message"]
    assert f"says: found {CANARY}" in render(wide)
    assert CANARY not in json.dumps(checked(wide))
    assert CANARY in json.dumps(checked(wide, widen=True))


def test_it_tells_type_files_lines_and_functions() -> None:
    folder = Path(__file__).parent
    error = caught(raise_with_values)
    trace = what_leaves(error, folders=[folder])
    first, cause = trace["chain"]
    assert first["type"].endswith("test_children_trace.SecretError")
    assert error.__traceback__ is not None
    assert first["frames"][-1] == {
        "file": "test_children_trace.py",
        "line": raise_with_values.__code__.co_firstlineno + 6,
        "function": "raise_with_values",
    }
    assert (cause["why"], cause["type"]) == ("cause", "builtins.KeyError")
    line = first["frames"][-1]["line"]
    assert brief(trace).endswith(f"SecretError in test_children_trace.py, line {line}, in raise_with_values")
    assert "caused by KeyError\n  test_children_trace.py, line " in render(trace)
    assert "stayed with the owner" in render(trace)


def test_files_of_packages_are_named_from_the_package() -> None:
    frames = what_leaves(caught(lambda: json.loads("?")))["chain"][0]["frames"]
    assert frames[-1]["file"] == "json/decoder.py"


def test_a_file_of_neither_experiment_nor_package_has_no_name(tmp_path: Path) -> None:
    file = tmp_path / "smith.py"
    file.write_text("1/0")
    error = caught(lambda: exec(compile(file.read_text(), str(file), "exec")))  # noqa: S102 - as an owner's own file runs
    assert what_leaves(error)["chain"][0]["frames"][-1]["file"] == "<elsewhere>"
    assert what_leaves(error, folders=[tmp_path])["chain"][0]["frames"][-1]["file"] == "smith.py"


def test_the_place_of_a_mistake_in_the_experiments_own_syntax(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("a = 1\nb = (\n")
    error = caught(lambda: compile(file.read_text(), str(file), "exec"))
    last = what_leaves(error, folders=[tmp_path])["chain"][0]["frames"][-1]
    assert last == {"file": "model.py", "line": 2, "function": "<syntax>"}


def test_an_endless_recursion_is_told_by_its_two_ends() -> None:
    def again() -> None:
        again()

    (link,) = what_leaves(caught(again))["chain"]
    assert link["type"] == "builtins.RecursionError"
    assert len(link["frames"]) == 30
    assert link["omitted"] > 100
    assert f"... {link['omitted']} more ..." in render({"chain": [link]})


def test_a_chain_is_bounded_and_a_ring_ends() -> None:
    error: BaseException = ValueError()
    for _ in range(50):
        above = ValueError()
        above.__cause__ = error
        error = above
    assert len(what_leaves(error)["chain"]) == MOST_LINKS
    one, two = ValueError(), KeyError()
    one.__cause__, two.__context__ = two, one
    assert len(what_leaves(one)["chain"]) == 2


def test_an_exception_whose_text_fails_is_told_all_the_same() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError(CANARY)

    trace = what_leaves(Hostile(), widen=True)
    assert trace["chain"][0]["message"] == "(its message could not be made)"


GOOD: dict[str, Any] = {
    "why": "raised",
    "type": "a.B",
    "frames": [{"file": "a.py", "line": 1, "function": "f"}],
    "omitted": 0,
}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"chain": []},
        {"chain": "x"},
        {"chain": [GOOD] * (MOST_LINKS + 1)},
        {"chain": [GOOD | {"why": "because"}]},
        {"chain": [GOOD | {"type": "a value of the data"}]},
        {"chain": [GOOD | {"type": "x" * 300}]},
        {"chain": [GOOD | {"omitted": -1}]},
        {"chain": [GOOD | {"frames": GOOD["frames"] * 40}]},
        {"chain": [GOOD | {"frames": [{"file": "/home/alice/a.py", "line": 1, "function": "f"}]}]},
        {"chain": [GOOD | {"frames": [{"file": "../a.py", "line": 1, "function": "f"}]}]},
        {"chain": [GOOD | {"frames": [{"file": "a\x1b[31m.py", "line": 1, "function": "f"}]}]},
        {"chain": [GOOD | {"frames": [{"file": "a.py", "line": 10**30, "function": "f"}]}]},
        {"chain": [GOOD | {"frames": [{"file": "a.py", "line": 1, "function": "f()"}]}]},
        {"chain": [GOOD | {"frames": [None]}]},
    ],
)
def test_a_parent_believes_only_what_a_trace_can_be(data: object) -> None:
    assert checked({"chain": [GOOD]}) == {"chain": [GOOD]}
    with pytest.raises(ProtocolError):
        checked(data)
