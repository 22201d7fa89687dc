"""Small parts of the command line: options, texts for people, log lines, and the example that owners begin with."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hansa.cli.options import parameters, split_pairs
from hansa.cli.process import JsonLines
from hansa.cli.screen import lasting, plain, sized
from hansa.cli.shard_example import missing_module, shard_example
from hansa.data.shards import announce, load_descriptor
from hansa.errors import ConfigError
from hansa.runtime.own import own_identity


def test_parameters_are_what_toml_takes_them_for_and_else_text() -> None:
    assert parameters(["a=3", "b=true", 'c="0"', "d=/data/ward.csv", "e=[1, 2]", "f=", "g=1 # x = 2"]) == {
        "a": 3,
        "b": True,
        "c": "0",
        "d": "/data/ward.csv",
        "e": [1, 2],
        "f": "",
        "g": 1,
    }


def test_a_value_cannot_bring_settings_of_its_own() -> None:
    assert parameters(["a=1\nb = 2"]) == {"a": "1\nb = 2"}


@pytest.mark.parametrize("texts", [["a"], ["=1"], ["a=1", "a=2"]])
def test_pairs_have_a_name_each_once(texts: list[str]) -> None:
    with pytest.raises(ConfigError):
        split_pairs(texts, "the label")


def test_one_s_identity_is_the_one_given_or_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSA_IDENTITY", "/somewhere")
    assert own_identity(None) == Path("/somewhere")
    assert own_identity(Path("here")) == Path("here")


@pytest.mark.parametrize(
    ("seconds", "said"), [(-1, "0 s"), (49, "49 s"), (90, "90 s"), (600, "10 min"), (10_000, "3 h"), (9e5, "10 d")]
)
def test_durations(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(812, "812 B"), (1536, "1.5 KiB"), (2**40, "1.0 TiB"), (2**51, "2048.0 TiB")]
)
def test_sizes(count: int, said: str) -> None:
    assert sized(count) == said


def test_what_others_wrote_commands_no_terminal_and_is_no_markup() -> None:
    console = Console(force_terminal=False, width=80)
    with console.capture() as captured:
        console.print(plain("[bold]a[/] \x1b[2J\x1b]0;title\x07 b\u202e"))
    assert captured.get() == "[bold]a[/] \ufffd[2J\ufffd]0;title\ufffd b\ufffd\n"


def test_a_log_record_is_one_line_of_json_also_with_a_traceback() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("hansa.x", logging.ERROR, __file__, 1, "it %s", ("broke\nhere",), sys.exc_info())
    text = JsonLines().format(record)
    assert "\n" not in text
    said = json.loads(text)
    assert (said["level"], said["logger"], said["message"]) == ("error", "hansa.x", "it broke\nhere")
    assert "ValueError" in said["traceback"]


def test_the_example_runs_as_it_is_with_any_parameters(tmp_path: Path) -> None:
    (tmp_path / "a_ward.py").write_text(shard_example("a_ward:Ward", {"file": "x.csv", "rows": 3}))
    descriptor = load_descriptor("a_ward:Ward", {"file": "x.csv", "rows": 3}, tmp_path)
    facts = announce(descriptor, "anna")
    assert facts.clients == {"anna": {"train": 100, "test": 50}}
    assert "Made-up" in facts.description


def test_an_example_is_written_only_where_there_is_no_such_module(tmp_path: Path) -> None:
    assert missing_module("a_ward:Ward", tmp_path) == tmp_path / "a_ward.py"
    (tmp_path / "a_ward.py").touch()
    assert missing_module("a_ward:Ward", tmp_path) is None
    assert missing_module("numpy:Ward", tmp_path) is None
    assert missing_module("clinic.ward:Ward", tmp_path) is None
