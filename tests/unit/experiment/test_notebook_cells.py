"""Cells: how they are read, from a file as well, and where the parts of an export say that they are from."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hansa.errors import ExperimentFileError
from hansa.experiment.notebook import cells_of, export
from hansa.experiment.notebook.cells import python_of


def ran(text: str) -> dict[str, Any]:
    module = types.ModuleType("__main__")
    exec(compile(text, "exported", "exec"), module.__dict__)  # noqa: S102 - our own cells
    return module.__dict__


def test_lines_keep_their_numbers_where_magics_are_left_out() -> None:
    cell = "%%time\n!ls \\\n  -l\nx = 1\n  \n%who\ny = 2"
    assert python_of(cell, 1).split("\n") == ["", "", "", "x = 1", "  ", "", "y = 2"]


def test_parts_say_which_lines_each_line_is_from() -> None:
    cells = [
        "import json, math\n\n\nx = 1",
        "print(x)",
        "# ours\n@staticmethod\ndef f():\n    return x",
        "answer = [f, json]",
    ]
    found = export(cells, "answer")
    lines = found.text.split("\n")
    assert [(part.cell, part.first, part.last, part.names) for part in found.parts] == [
        (1, 1, 1, ("json",)),
        (1, 4, 4, ("x",)),
        (3, 1, 4, ("f",)),
        (4, 1, 1, ("answer",)),
    ]
    assert [lines[part.line - 1] for part in found.parts] == ["import json", "x = 1", "# ours", "answer = [f, json]"]


def test_what_the_session_alone_knows_is_written_down_where_it_is_plain() -> None:
    session = {"rate": -0.1, "sizes": (1, ("a", b"b", None, True)), "unused": 3, "print": print}
    text = export(["experiment = (rate, sizes)\nprint(experiment)"], namespace={"sum": sum, **session}).text
    assert text.split("\n")[1:] == [
        "",
        "# No cell defines these; they are what the session held when it was exported.",
        "rate = -0.1",
        "sizes = (1, ('a', b'b', None, True))",
        "",
        "experiment = (rate, sizes)",
        "",
    ]
    assert ran(text)["experiment"] == (-0.1, (1, ("a", b"b", None, True)))


def test_an_async_function_that_was_exported_runs() -> None:
    cells = ["async def other(): return 4", "async def experiment(): return await other()"]
    assert asyncio.run(ran(export(cells).text)["experiment"]()) == 4


def test_a_notebook_of_hundreds_of_cells_is_exported() -> None:
    chain = [f"def f{i}(x): return x + c{i}\nc{i} = {i}\nbase.append(f{i}(c{i}))\nprint(base)" for i in range(150)]
    found = export(["base = []", *chain, "experiment = base"])
    assert len(found.parts) == 1 + 3 * 150 + 1
    assert ran(found.text)["experiment"] == [2 * i for i in range(150)]


def notebook(folder: Path, *cells: Mapping[str, Any]) -> Path:
    path = folder / "notebook.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    return path


def test_the_code_of_a_notebook_file_is_read_from_top_to_bottom(tmp_path: Path) -> None:
    path = notebook(
        tmp_path,
        {"cell_type": "markdown", "source": ["# größer"]},
        {"cell_type": "code", "source": ["größe = 1\n", "# both"], "execution_count": 7, "outputs": []},
        {"cell_type": "raw", "source": "raw"},
        {"cell_type": "code", "source": "answer = größe", "execution_count": None, "outputs": []},
    )
    assert cells_of(path) == ("größe = 1\n# both", "answer = größe")
    assert ran(export(cells_of(path), "answer").text)["experiment"] == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"cells": 3}',
        '{"cells": [{"cell_type": "code"}]}',
        '{"cells": [{"cell_type": "code", "source": 3}]}',
        '{"cells": [{"cell_type": "code", "source": [3]}]}',
        '{"worksheets": [{"cells": []}], "nbformat": 3}',
        "[" * 100_000,
    ],
)
def test_what_is_no_notebook_is_told_as_such(tmp_path: Path, content: str) -> None:
    path = tmp_path / "no.ipynb"
    path.write_text(content)
    with pytest.raises(ExperimentFileError) as caught:
        cells_of(path)
    assert caught.value.what == "this is no notebook of format 4"
    assert (caught.value.where, caught.value.hint) == (str(path), "save it with Jupyter as an .ipynb file")


def test_a_notebook_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ExperimentFileError, match="it cannot be read: No such file or directory"):
        cells_of(tmp_path / "none.ipynb")


def test_what_was_pasted_with_an_indent_is_taken_as_ipython_takes_it() -> None:
    cells = ["\n    x = 1\n    if x:\n        y = 2\n", "answer = (x, y)"]
    assert ran(export(cells, "answer").text)["experiment"] == (1, 2)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are Python 3.12's")
def test_type_parameters_are_names_of_their_own() -> None:
    cells = [
        "def first[T](items: list[T]) -> T: return items[0]\nclass Box[U]:\n    item: U",
        "answer = (first([1]), Box)",
    ]
    assert ran(export(cells, "answer").text)["experiment"][0] == 1
