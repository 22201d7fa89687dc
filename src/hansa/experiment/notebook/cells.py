"""Cells: what somebody typed into a notebook, as the Python statements that are in it.

Magics, shell lines and questions are not Python and are left out, but for `%time` and its like, which only wrap some. This file
must not know what a statement means.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hansa.errors import ExperimentFileError
from hansa.experiment.imports import parse

_AROUND_PYTHON = frozenset({"time", "capture", "prun"})
"""Cell magics whose body is Python that binds its names in the notebook; `%%timeit` keeps them to itself."""

_TIMED = re.compile(r"(\s*)%(?:time|prun)\s+(\S.*)")
_ASSIGNED = re.compile(r"(\s*)([A-Za-z_][\w.]*(?:\s*,\s*[A-Za-z_]\w*)*)\s*=\s*[%!].*")
_LEFT_OUT = re.compile(
    r"\s*(?:[%!?]|[,;/]\w|%{0,2}[\w.*]+\?{1,2}\s*$|(?:pip|conda|mamba|uv|cd|ls|ll|cat|cp|mv|mkdir|rm|rmdir|man|less|more|git)\s)"
)
"""A line that IPython gives another meaning: a magic, a shell command, a question, a call without brackets."""


@dataclass(frozen=True)
class Statement:
    """A statement at the top of a cell.

    Attributes:
        cell: its number, the first cell is 1.
        node: its syntax tree; line numbers are the cell's.
        text: as it is written, with the comments right above and behind it.
        first: the line where its text begins.
        last: the line where it ends.
        raised: what its cell raised, unless this went through for certain; else empty.
        broke_off: whether it was this that raised.
    """

    cell: int
    node: ast.stmt
    text: str
    first: int
    last: int
    raised: str = ""
    broke_off: bool = False

    @property
    def where(self) -> str:
        """The place, for an error."""
        return f"cell {self.cell}, line {self.node.lineno}"


@dataclass(frozen=True)
class Failure:
    """What a cell raised, and in which of its lines; None where that is not known."""

    what: str
    line: int | None = None


@dataclass(frozen=True)
class Cells:
    """A notebook that was read.

    Attributes:
        statements: in the order in which they ran.
        futures: what is imported from `__future__`, for all of them.
        left_out: by number the cells of which nothing is used, with why.
    """

    statements: tuple[Statement, ...]
    futures: tuple[str, ...] = ()
    left_out: Mapping[int, str] = field(default_factory=dict)


def cells_of(path: Path) -> tuple[str, ...]:
    """The code cells of a notebook file, from top to bottom; nothing is run.

    Raises:
        ExperimentFileError: there is no such file, or it is no notebook in the format that Jupyter writes since 2015 (4).
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
        return tuple(_joined(cell["source"]) for cell in cells)
    except OSError as problem:
        raise ExperimentFileError(f"it cannot be read: {problem.strerror}", where=str(path)) from problem
    except (ValueError, LookupError, TypeError, RecursionError) as problem:
        raise ExperimentFileError(
            "this is no notebook of format 4", where=str(path), hint="save it with Jupyter as an .ipynb file"
        ) from problem


def _joined(source: str | Sequence[str]) -> str:
    if not isinstance(source, str) and not all(isinstance(each, str) for each in source):
        raise TypeError
    return "".join(source)


def read(cells: Sequence[str], failed: Mapping[int, Failure] | None = None) -> Cells:
    """The statements of cells.

    Args:
        cells: their text, in the order in which they ran.
        failed: by number the cells that raised; what stands behind that line never ran.
    """
    statements, futures, left_out = list[Statement](), dict[str, None](), dict[int, str]()
    for number, cell in enumerate(cells, start=1):
        try:
            text = python_of(cell, number)
            found = _ran(_statements(text, number), (failed or {}).get(number))
        except ExperimentFileError as problem:
            left_out[number] = problem.what
            continue
        for each in found:
            match each.node:
                case ast.ImportFrom(module="__future__", names=names):
                    futures |= {alias.name: None for alias in names}
                case _:
                    statements.append(each)
    return Cells(tuple(statements), tuple(futures), left_out)


def _ran(statements: list[Statement], failure: Failure | None) -> list[Statement]:
    """The statements of a cell that ran, or may have."""
    if failure is None:
        return statements
    if failure.line is None:
        return [replace(each, raised=failure.what) for each in statements]
    begun = [each for each in statements if each.first <= failure.line]
    return [*begun[:-1], *(replace(each, raised=failure.what, broke_off=True) for each in begun[-1:])]


def python_of(cell: str, number: int) -> str:
    """The Python in a cell, line by line where it stands.

    Raises:
        ExperimentFileError: there is none.
    """
    lines = cell.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((index for index, line in enumerate(lines) if line.strip()), 0)
    margin = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    lines = [line.removeprefix(margin) for line in lines]  # as IPython takes what was pasted with an indent
    while lines[start].startswith("%%"):
        magic = lines[start][2:].split(maxsplit=1)[0] if lines[start][2:].strip() else ""
        if magic not in _AROUND_PYTHON:
            raise ExperimentFileError(f"it begins with %%{magic}", where=f"cell {number}")
        lines[start] = ""
        start = min(start + 1, len(lines) - 1)
    for _ in lines:
        try:
            parse("\n".join(lines), f"cell {number}")
        except ExperimentFileError as problem:
            at = _other_than_python(lines, problem)
            if at is None:
                raise
            _replace(lines, at)
        else:
            break
    return "\n".join(lines)


def _other_than_python(lines: Sequence[str], problem: ExperimentFileError) -> int | None:
    """The line to blame for a syntax error: the one that Python names, else the first that looks like no Python."""
    cause = problem.__cause__
    named = (cause.lineno or 1) - 1 if isinstance(cause, SyntaxError) else -1
    odd = [index for index, line in enumerate(lines) if _LEFT_OUT.match(line) or _ASSIGNED.match(line)]
    return named if named in odd else next(iter(odd), None)


def _replace(lines: list[str], at: int) -> None:
    """Put Python in the place of a line that is none, and nothing in that of its continuations."""
    line = lines[at]
    indent = line[: len(line) - len(line.lstrip())]
    if timed := _TIMED.fullmatch(line):
        lines[at] = timed[1] + timed[2]
        return
    end = at
    while lines[end].endswith("\\") and end + 1 < len(lines):
        end += 1
        lines[end] = ""
    if assigned := _ASSIGNED.fullmatch(line):
        lines[at] = f"{assigned[1]}{assigned[2]} = get_ipython()  # {line.strip()}"
    else:
        lines[at] = f"{indent}pass  # {line.strip()}" if indent else ""


def _statements(text: str, cell: int) -> list[Statement]:
    nodes, lines = parse(text, f"cell {cell}").body, text.split("\n")
    ends = [0, *(node.end_lineno or 0 for node in nodes)]
    return [_statement(node, end, lines, cell) for node, end in zip(nodes, ends, strict=False)]


def _statement(node: ast.stmt, before: int, lines: Sequence[str], cell: int) -> Statement:
    """A statement with its text; `before` is the line where the one before it ends, or 0."""
    begins = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    ends = node.end_lineno or node.lineno
    own = list(lines[begins - 1 : ends])
    whole = own[-1].encode()
    own[-1], rest = whole[: node.end_col_offset].decode(), whole[node.end_col_offset :].decode().strip(" \t;")
    if rest.startswith("#"):
        own[-1] += f"  {rest}"
    if node.col_offset and begins == node.lineno:
        own[0] = own[0].encode()[node.col_offset :].decode()
    first = begins
    while first - 1 > before and _is_comment(lines[first - 2]):
        first -= 1
    return Statement(cell, node, "\n".join([*lines[first - 1 : begins - 1], *own]), first, ends)


def _is_comment(line: str) -> bool:
    return line.startswith("#") and not line.startswith(("# %%", "#%%"))


def gap(one: Statement | None, other: Statement) -> int:
    """How many blank lines belong before a statement that follows another one, or a file's head."""
    both = (other,) if one is None else (one, other)
    if any(isinstance(each.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for each in both):
        return 2
    if one is None:
        return 1
    return 0 if one.cell == other.cell and other.first - one.last <= 1 else 1
