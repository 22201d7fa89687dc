"""The house's own rules: every file says what it is for, stays small enough to be read in one go, and executes no data."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import hansa

HOME = Path(hansa.__file__).parent
FILES = {path.relative_to(HOME).as_posix(): path for path in sorted(HOME.rglob("*.py"))}
LONGEST = 400
SHORTER = {"algorithms/fedavg.py": 120}
EMPTY_WORDS = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "context"}

EXECUTING = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
"""Formats whose files are programs: nothing that comes from elsewhere may be read with them."""


def lines(path: Path) -> int:
    """As `wc -l` counts them."""
    return path.read_bytes().count(b"\n")


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 40
    assert SHORTER.keys() <= FILES.keys()


def test_every_file_begins_by_saying_what_it_is_for() -> None:
    said = {name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for name, path in FILES.items()}
    assert [name for name, text in said.items() if len(text.split()) < 3] == []


def test_every_file_fits_in_the_head() -> None:
    too_long = {name: lines(path) for name, path in FILES.items() if lines(path) > SHORTER.get(name, LONGEST)}
    assert too_long == {}


def test_every_file_is_named_for_one_idea() -> None:
    ours = [
        name for name in FILES if not name.startswith("interop/")
    ]  # the rooms of others keep the names that they gave
    assert [name for name in ours if EMPTY_WORDS & set(Path(name).with_suffix("").parts)] == []


def test_the_package_is_typed() -> None:
    assert (HOME / "py.typed").is_file()


def executing(node: ast.AST) -> bool:
    """Whether a piece of code reads or writes a format that can be executed, or runs text."""
    named: list[str] = []
    match node:
        case ast.Import():
            named = [alias.name for alias in node.names]
        case ast.ImportFrom():
            named = [node.module or ""]
        case ast.Call():  # import_module("pickle") too
            named = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
            unsafe = {keyword.arg for keyword in node.keywords if ast.unparse(keyword.value) != "False"}
            if "allow_pickle" in unsafe or ast.unparse(node.func) in ("torch.load", "torch.save", "eval", "exec"):
                return True
    return bool(EXECUTING & {name.split(".")[0] for name in named})


def test_nothing_reads_or_writes_a_format_that_can_be_executed() -> None:
    found = {
        f"{name}: {ast.unparse(node)}"
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if executing(node)
    }
    assert found == set()


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import numpy, marshal as m",
        "from dill.source import getsource",
        "importlib.import_module('shelve')",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
    ],
)
def test_that_would_be_found(code: str) -> None:
    assert any(executing(node) for node in ast.walk(ast.parse(code)))
