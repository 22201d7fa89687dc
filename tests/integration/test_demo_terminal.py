"""`hansa demo` in a terminal: live bars, and Ctrl-C."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Ended, Shell

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FOREVER = "--rounds", "100000"
FEDERATED = re.compile(r"^ +federated( +[\d.]+%){3}", re.MULTILINE)


def lines(screen: str) -> str:
    """The text without escape codes, and of every line what was written last from its beginning."""
    return re.sub(r"[^\n]*\r(?!\n)", "", ESCAPE.sub("", screen)).replace("\r\n", "\n")


@pytest.fixture(scope="module")
def watched(shell: Shell) -> Ended:
    return shell.in_terminal("demo", "--simulate", "--rounds", "2")


def test_a_terminal_shows_bars_that_move(watched: Ended) -> None:
    assert watched.code == 0
    assert "━" in watched.out
    assert re.search(r"\x1b\[\d*A|\x1b\[2K", watched.out)  # drawn over, not one below the other
    text = ESCAPE.sub("", watched.out)
    for part in ("federated", "alice alone", "bob alone", "charlie alone", "pooled"):
        assert re.search(rf"{part} +━+ +\S*[012]/2 rounds", text), part


def test_a_terminal_shows_the_same_rows_as_a_pipe(watched: Ended) -> None:
    text = lines(watched.out)
    assert len(FEDERATED.findall(text)) == 2
    assert "alice    holds 142 of 0, 146 of 1, 142 of 2, 146 of 3, total 576" in text
    assert re.search(r"model sha256 [0-9a-f]{64}", text)
    assert "training for comparison" not in text  # a bar says it


def test_the_terminal_gets_its_cursor_back(watched: Ended) -> None:
    assert watched.out.rindex("\x1b[?25h") > watched.out.rindex("\x1b[?25l")


def test_the_document_goes_down_the_pipe_while_the_screen_shows_how_far_it_is(shell: Shell) -> None:
    ended = shell.in_terminal("demo", "--simulate", "--rounds", "1", "--json", document=True)
    assert ended.code == 0
    document = json.loads(ended.out)
    assert document["rounds"] == 1
    assert "━" in ended.err
    assert document["model_sha256"] in ended.err


def test_ctrl_c_stops_it_without_a_traceback_and_leaves_no_files(shell: Shell, tmp_path: Path) -> None:
    ended = shell.interrupted("demo", "--simulate", *FOREVER, "--out", tmp_path / "results", once="   federated")
    assert ended.code == 130
    assert ended.err == "stopped\n"
    assert FEDERATED.search(ended.out)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ctrl_c_with_json_prints_no_half_document(shell: Shell) -> None:
    ended = shell.in_terminal("demo", "--simulate", *FOREVER, "--json", interrupt="says 0-3", document=True)
    assert (ended.code, ended.out) == (130, "")
    assert "stopped" in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_gives_the_terminal_its_cursor_back(shell: Shell) -> None:
    ended = shell.in_terminal("demo", "--simulate", *FOREVER, interrupt="says 0-3")
    assert ended.code == 130
    assert ESCAPE.sub("", ended.out).rstrip().endswith("stopped")
    assert "Traceback" not in ended.out
    assert ended.out.rindex("\x1b[?25h") > ended.out.rindex("\x1b[?25l")
