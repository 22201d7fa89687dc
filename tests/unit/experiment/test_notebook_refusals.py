"""What a notebook cannot hand over: refused with what, where, and what to do."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import pytest

from hansa.errors import ExperimentFileError, InputError
from hansa.experiment.notebook import Failure, export

HERE = 'what only belongs here can stand under `if __name__ == "__main__":`'
VALUE = f"write what you need of it into a cell as a value, such as `classes = 10`; {HERE}"
DEFINE = "define it in a cell, and run that"


def refused(*cells: str, **settings: Any) -> ExperimentFileError:
    with pytest.raises(ExperimentFileError) as caught:
        export(cells, **({"name": "answer"} | settings))
    return caught.value


REFUSED = {
    "a name from nowhere": (
        ["x = 1", "answer = x + missing"],
        "`missing` is needed, and no cell defines it",
        "cell 2, line 1",
        DEFINE,
    ),
    "a name that only a function reads": (
        ["def f():\n    return 1 + missing", "answer = f"],
        "`missing` is needed, and no cell defines it",
        "cell 1, line 2",
        DEFINE,
    ),
    "a default from nowhere": (
        ["def f(a, *, k=missing): return k\nanswer = f"],
        "`missing` is needed, and no cell defines it",
        "cell 1, line 1",
        DEFINE,
    ),
    "no experiment": (["x = 1"], "`answer` is needed, and no cell defines it", "", DEFINE),
    "no cells": ([], "`answer` is needed, and no cell defines it", "", DEFINE),
    "a star": (
        ["x = 1\nfrom math import *", "answer = sqrt(4)"],
        "`sqrt` is needed, and no cell defines it but perhaps `from math import *`",
        "cell 2, line 1",
        "name what you import: from math import sqrt",
    ),
    "a cell that is left out": (
        ["%%bash\nx=1", "answer = x"],
        "`x` is needed, and no cell defines it",
        "cell 2, line 1",
        "define it in a cell of plain Python (cell 1 is left out: it begins with %%bash)",
    ),
    "a cell that is no Python": (
        ["x = 1 +", "answer = x"],
        "`x` is needed, and no cell defines it",
        "cell 2, line 1",
        "define it in a cell of plain Python (cell 1 is left out: this is no Python: invalid syntax)",
    ),
    "a name that was deleted": (
        ["x = 1\ndel x", "answer = x"],
        "`x` is needed, and cell 1, line 2 deletes it",
        "cell 2, line 1",
        "run the cell that defines it again",
    ),
    "cells in another order": (
        ["answer = x", "\nx = 2"],
        "`x` is needed here, and only cell 2, line 2 defines it",
        "cell 1, line 1",
        "put the cells in the order in which they run",
    ),
    "what stays behind": (
        ["if __name__ == '__main__':\n    x = 1", "answer = x"],
        "`x` is needed, and no cell defines it",
        "cell 2, line 1",
        DEFINE,
    ),
    "the last output": (
        ["3 + 4", "answer = _ + 1"],
        "`_` is only there in a notebook",
        "cell 2, line 1",
        "do without it in what the experiment is made of",
    ),
    "display in a function": (
        ["def f():\n    display(1)\nanswer = f"],
        "`display` is only there in a notebook",
        "cell 1, line 2",
        "do without it in what the experiment is made of",
    ),
    "a shell command's output": (
        ["files = !ls -l", "answer = len(files)"],
        "`files` is needed, and only a notebook can run it: files = !ls -l",
        "cell 1, line 1",
        "write the value of `files` into a cell",
    ),
    "a magic's value": (
        ["import os\nwhere = %pwd", "answer = where"],
        "`where` is needed, and only a notebook can run it: where = %pwd",
        "cell 1, line 2",
        "write the value of `where` into a cell",
    ),
    "the shell": (
        ["ip = get_ipython()", "answer = ip"],
        "`ip` is needed, and only a notebook can run it: ip = get_ipython()",
        "cell 1, line 1",
        "write the value of `ip` into a cell",
    ),
    "await": (
        ["async def f(): return 1", "x = 1\ny = await f()", "answer = y"],
        "`y` is needed, and it is made with `await`, which a file cannot do at its top",
        "cell 2, line 2",
        "put it into a function, or wait with asyncio.run(...)",
    ),
    "a table": (
        ["import pandas as pd\ntable = pd.read_csv('a.csv')", "answer = table.shape[1]"],
        "`table` is needed, and it reads a file (pd.read_csv), which an owner does not have",
        "cell 1, line 2",
        VALUE,
    ),
    "a file": (
        ["with open('words.txt') as file:\n    words = file.read().split()", "answer = len(words)"],
        "`words` is needed, and it reads a file (open), which an owner does not have",
        "cell 1, line 1",
        VALUE,
    ),
    "a path's file": (
        ["from pathlib import Path\nhome = Path('.')\ntext = (home / 'a').read_text()", "answer = text"],
        "`text` is needed, and it reads a file (.read_text), which an owner does not have",
        "cell 1, line 3",
        VALUE,
    ),
    "a file, by a function": (
        ["def inner(): return open('a')\ndef load():\n    return inner().read()", "text = load()", "answer = text"],
        "`text` is needed, and it reads a file (open in load), which an owner does not have",
        "cell 2, line 1",
        VALUE,
    ),
    "a file, by another name": (
        ["import numpy as np\nget = np.load\nx = get('a.npy')\nanswer = x"],
        "`x` is needed, and it reads a file (get), which an owner does not have",
        "cell 1, line 3",
        VALUE,
    ),
    "a data set": (
        ["import hansa\ndigits = hansa.load_dataset('digits')", "answer = digits.train['x'].shape"],
        "`digits` is needed, and it reads a file (hansa.load_dataset), which an owner does not have",
        "cell 1, line 2",
        VALUE,
    ),
    "the network": (
        ["from urllib.request import urlopen", "answer = urlopen('https://example.org').read()"],
        "`answer` is needed, and it uses the network (urlopen), which an owner does not have",
        "cell 2, line 1",
        VALUE,
    ),
    "a question": (
        ["rate = float(input('rate? '))", "answer = rate"],
        "`rate` is needed, and it asks the person at the keyboard (input), which an owner does not have",
        "cell 1, line 1",
        VALUE,
    ),
    "a program": (
        ["import subprocess as sp", "answer = sp.run(['ls'])"],
        "`answer` is needed, and it runs a program (sp.run), which an owner does not have",
        "cell 2, line 1",
        VALUE,
    ),
    "the federation": (
        ["import hansa\nfederation = hansa.Federation.connect('fl.example.org:8470')", "answer = federation.clients()"],
        "`federation` is needed, and it is the federation itself (hansa.Federation.connect), which an owner does not have",
        "cell 1, line 2",
        f"let nothing that `federation` is made of ask the federation; {HERE}",
    ),
}


@pytest.mark.parametrize("shape", REFUSED)
def test_what_cannot_be_exported_is_named_with_what_to_do(shape: str) -> None:
    cells, what, where, hint = REFUSED[shape]
    problem = refused(*cells)
    assert (problem.what, problem.where, problem.hint) == (what, where, hint)


def test_several_problems_are_told_together() -> None:
    problem = refused("import os\nfiles = os.listdir('.')", "answer = (files, missing)")
    assert problem.what.split("\n") == [
        "2 things keep this from being exported:",
        f"  cell 1, line 2: `files` is needed, and it reads a file (os.listdir), which an owner does not have; {VALUE}",
        f"  cell 2, line 1: `missing` is needed, and no cell defines it; {DEFINE}",
    ]


def test_what_a_file_cannot_say_at_its_top_is_no_export() -> None:
    problem = refused("for answer in [1]:\n    return answer")
    assert problem.what == "this is no Python for a file: 'return' outside function"
    assert problem.where == "return answer"


def test_text_that_a_reader_would_not_see_is_refused() -> None:
    with pytest.raises(InputError, match=r"holds the character U\+202E in line 3, which a reader does not see"):
        export(["answer = 1  # \u202eno"], "answer")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ([1], "the session holds a list that came from elsewhere (exec, a magic, an extension): define it in a cell"),
        (
            float("nan"),
            "the session holds a float that came from elsewhere (exec, a magic, an extension): define it in a cell",
        ),
        (
            (1, [2]),
            "the session holds a tuple that came from elsewhere (exec, a magic, an extension): define it in a cell",
        ),
        (types, "the session holds a module under this name: import it in a cell, import types"),
        (
            refused,
            "the session holds a function that came from elsewhere (exec, a magic, an extension): define it in a cell",
        ),
    ],
)
def test_what_the_session_alone_holds_is_refused_unless_it_is_plain(value: object, hint: str) -> None:
    problem = refused("answer = x", namespace={"x": value})
    assert (problem.what, problem.hint) == ("`x` is needed, and no cell defines it", hint)


def test_a_name_of_pythons_own_that_the_session_covers_is_not_pythons_own() -> None:
    assert "came from elsewhere" in refused("answer = sum([1])", namespace={"sum": refused}).hint
    assert export(["answer = sum([1])"], "answer", namespace={"open": refused}).text


def session(*cells: str) -> dict[str, Any]:
    module = types.ModuleType("__main__")
    for cell in cells:
        exec(compile(cell, "cell", "exec"), module.__dict__)  # noqa: S102 - our own cells
    return {name: value for name, value in vars(module).items() if name != "answer"}


NET = "class Net:\n    def f(self): return 1\n    def g(self): return [x for x in (1, 2)]"
DECORATED = """import functools
def same(f):
    @functools.wraps(f)
    def inner(*a): return f(*a)
    return inner
@same
def f(): return 1"""
ANNOTATED = "from __future__ import annotations\ndef f():\n    def g(x: int) -> str: return ''\n    return g"


@pytest.mark.parametrize(
    ("cells", "later", "name", "where"),
    [
        (["def f(): return 1", "answer = f"], "def f(): return 2", "f", "cell 1, line 1"),
        (["def f(): return 1", "answer = f"], "f = 3", "f", "cell 1, line 1"),
        (["def f(): return lambda: 1", "answer = f"], "def f(): return lambda: 1.0", "f", "cell 1, line 1"),
        (["x = 1\n" + NET, "answer = Net"], NET.replace("return 1", "return 2"), "Net", "cell 1, line 2"),
        ([NET, "answer = Net"], "Net.g = lambda self: 1", "Net", "cell 1, line 1"),
        ([NET, "answer = Net"], "Net = Net()", "Net", "cell 1, line 1"),
        ([DECORATED, "answer = f"], DECORATED.replace("return 1", "return 2"), "f", "cell 1, line 7"),
        (["rate = 0.1", "answer = rate"], "rate = 0.2", "rate", "cell 1, line 1"),
        (["rate = 1", "answer = rate"], "rate = True", "rate", "cell 1, line 1"),
        ([ANNOTATED, "answer = f"], "def f(): return 1", "f", "cell 1, line 2"),
    ],
)
def test_a_session_that_no_cell_would_give_is_refused(cells: list[str], later: str, name: str, where: str) -> None:
    assert export(cells, "answer", namespace=session(*cells)).text
    problem = refused(*cells, namespace=session(*cells, later))
    assert problem.what == f"the session's `{name}` is not the one that this cell gives"
    assert (problem.where, problem.hint) == (where, "run the cell again, or put into a cell what made it")


@pytest.mark.parametrize(
    "cells",
    [
        [NET, "def h(self): return 3\nNet.f = h", "answer = Net"],
        ["rate = 0.1", "answer = rate", "rate = 0.5"],
        [
            "from dataclasses import dataclass\n@dataclass(slots=True)\nclass P:\n    def f(self): return {'a', 'b'}",
            "answer = P",
        ],
        ["class P:\n    def __hidden(self): return 1\n    def f(self): return self.__hidden()", "answer = P"],
        [
            "def f(x):\n    'Says.'\n    y = f'{x!r:>3}' 'more'\n    assert x, y\n    return -1, (1, 2), {1, 2}, ..., y",
            "answer = f",
        ],
        [
            "def f(a, b=1, *c, d, **e):\n    def g():\n        nonlocal b\n        b += 1\n        yield a\n    return g",
            "answer = f",
        ],
        ["import enum\nclass K(enum.Enum):\n    A = 1\n    def f(self): return self.value", "answer = K"],
    ],
)
def test_a_session_that_its_cells_give_is_exported(cells: list[str]) -> None:
    assert export(cells, "answer", namespace=session(*cells)).text


def test_what_is_no_experiment_is_refused() -> None:
    problem = refused("answer = 3", namespace={"answer": 3})
    assert problem.line == "`answer` is a int, not an Experiment; give the name of the experiment"


@pytest.mark.parametrize(
    ("cells", "failed", "line"),
    [
        (["x = [1]", "x.append(boom())", "answer = x"], {2: Failure("NameError", 1)}, 1),
        (["x = []", "for i in y:\n    x.append(i)", "answer = x"], {2: Failure("NameError", 1)}, 1),
        (["x = 1\nboom()", "answer = x"], {1: Failure("NameError")}, 1),
    ],
)
def test_what_a_cell_did_before_it_raised_is_not_guessed(
    cells: list[str], failed: Mapping[int, Failure], line: int
) -> None:
    problem = refused(*cells, failed=failed)
    assert problem.what == "`x` is needed, and this raised NameError: nobody can tell how far it went"
    assert problem.where == f"cell {next(iter(failed))}, line {line}"
    assert problem.hint == "mend the cell and run it again, from where the name begins"


@pytest.mark.parametrize(
    ("cells", "failed", "kept"),
    [
        (["x = 1", "x = boom()", "answer = x"], {2: Failure("NameError", 1)}, [1, 3]),
        (["x = 1", "for x in boom(): pass", "x = 3", "answer = x"], {2: Failure("NameError", 1)}, [3, 4]),
        (["x = 1\nboom()\nx = 5", "answer = x"], {1: Failure("NameError", 2)}, [1, 2]),
        (["x = 1", "y = 1\nx = 5\nboom()\nx.late()", "answer = x"], {2: Failure("NameError", 3)}, [2, 3]),
        (["x = 1", "boom(x)", "answer = x"], {2: Failure("NameError", 1)}, None),
    ],
)
def test_of_a_cell_that_raised_what_stands_before_counts(
    cells: list[str], failed: Mapping[int, Failure], kept: list[int] | None
) -> None:
    if kept is None:
        assert refused(*cells, failed=failed).where == "cell 2, line 1"
    else:
        assert [part.cell for part in export(cells, "answer", failed=failed).parts] == kept
