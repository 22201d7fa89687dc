"""What leaves an owner: a mark in the data is looked for in all that the Director has and that a user can fetch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hansa.core.history import Entry
from hansa.data.owners import Owner
from hansa.runtime.local import DIRECTOR

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live, MakeLive

HERE = Path(__file__).parent
NUMBER, NAME = "8675309.0", "smith-1962-hiv"
MARKS = (
    NUMBER.encode(),
    NUMBER[:-2].encode(),
    NAME.encode(),
    np.float32(NUMBER).tobytes(),
    np.float64(NUMBER).tobytes(),
)

FAILING = ("message", "arguments", "locals", "cause", "group", "note", "exit", "code", "metrics")
QUIET = ("print", "log", "file")


def owner(folder: Path) -> Owner:
    """An owner whose data are marked."""
    file = folder / f"{NAME}.csv"
    file.write_text(NUMBER)
    return Owner("alice", "shards:Marked", {"client": "0", "file": str(file)}, HERE / "owned")


@pytest.fixture(scope="module")
def shared(make_live: MakeLive, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """One owner."""
    return make_live([owner(tmp_path_factory.mktemp("data"))])


def leaking(folder: Path, way: str) -> Path:
    """The experiment that tells in a way."""
    entry = folder / "leaking.py"
    entry.write_text((HERE / "experiments" / "leaking.py").read_text().replace('WAY = "nothing"', f'WAY = "{way}"'))
    return entry


def files_under(folder: Path) -> list[Path]:
    """All files of a folder that somebody is at work in: where one of its folders goes meanwhile, look again."""
    while True:
        try:
            return [path for path in folder.rglob("*") if path.is_file()]
        except FileNotFoundError:
            continue


def content(path: Path) -> bytes:
    """A file's bytes; none of one that the Director has just dropped."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def marked(live: Live, run: str) -> list[str]:
    """Where outside of the owner's folder a mark is."""
    folder = live.local.folder
    files = [*files_under(folder / DIRECTOR), folder / f"{DIRECTOR}.log"]
    found = [str(path) for path in files if any(mark in content(path) for mark in MARKS)]
    with live.local.user() as user:
        told = [*user.follow(run), user.overview(), user.about(run)]
        entries = [Entry.from_json(report["entry"]) for report in told if "entry" in report]
        text = json.dumps(told).encode() + repr(entries).encode()
    return found + [mark.decode("latin-1") for mark in MARKS if mark in text]


@pytest.mark.parametrize("way", QUIET + FAILING)
def test_nothing_leaves_but_what_is_declared(live: Live, tmp_path: Path, way: str) -> None:
    run = live.submit(leaking(tmp_path, way))
    shown = live.over(run)
    assert shown["phase"] == ("failed" if way in FAILING else "finished"), shown["why"]
    assert marked(live, run) == []
    if way == "metrics":
        assert "its owner lets 65536 leave" in shown["why"]
    elif way in FAILING:
        assert "stayed with the owner" in shown["why"]


def test_what_was_printed_stays_with_the_owner(live: Live, tmp_path: Path) -> None:
    live.over(live.submit(leaking(tmp_path, "print")))
    logs = [path for path in files_under(live.local.folder / "alice") if ".log" in path.name]
    kept = [path for path in logs if NAME.encode() in content(path)]
    assert kept


def test_an_owner_may_let_the_texts_of_errors_leave(make_live: MakeLive, tmp_path: Path) -> None:
    live = make_live([owner(tmp_path)], envoy={"messages = false": "messages = true"})
    run = live.submit(leaking(tmp_path, "message"))
    shown = live.over(run)
    assert f"cannot read {NUMBER} of" in shown["why"]
    assert NAME in shown["why"]
    assert marked(live, run)
    run = live.submit(leaking(tmp_path, "print"))
    live.over(run)
    printed = [line for line in live.log(DIRECTOR).splitlines() if run in line]
    assert not any(NAME in line for line in printed)
