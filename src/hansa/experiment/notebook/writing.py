"""An experiment file written from a notebook's statements: as they were typed, with imports reduced to what is used.

This file must not know why a statement is needed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hansa.experiment.notebook.cells import Cells, Statement, gap
from hansa.experiment.notebook.flow import Flow
from hansa.experiment.notebook.slicing import Slice

HEAD = '"""An experiment, as it was typed; what it does not need was left out."""'
"""No cell's number is in it: a cell that is run again has another one, and an approval is for the very bytes."""


@dataclass(frozen=True)
class Part:
    """Where a part of an exported file comes from.

    Attributes:
        line: the line in the exported text where it begins; the first is 1.
        cell: the cell's number; the first that is given, or In[1] of a session, is 1.
        first: the line of the cell where it begins.
        last: the line of the cell where it ends.
        names: what it is there for.
    """

    line: int
    cell: int
    first: int
    last: int
    names: tuple[str, ...]


def written(cells: Cells, flow: Flow, found: Slice, entry: str) -> tuple[str, tuple[Part, ...]]:
    """The text of an experiment file, and where its parts come from."""
    used = {each for at in found.kept for each in flow.does[at].dotted}
    imports = _Imports(used, [flow.statements[at].node for at in found.kept])
    kept = list(_once(flow, found.kept))
    lines, parts = _head(cells, found), list[Part]()
    before: Statement | None = None
    for at in kept:
        statement, names = flow.statements[at], found.kept[at]
        text = imports.text(statement, names)
        for name in flow.does[at].always:
            imports.rebound(name, statement)
        if not text:
            continue
        lines += [""] * gap(before, statement)
        parts.append(Part(len(lines) + 1, statement.cell, statement.first, statement.last, tuple(sorted(names))))
        lines += text.split("\n")
        before = statement
    if entry != "experiment":
        lines += ["", f"experiment = {entry}"]
    return "\n".join(lines) + "\n", tuple(parts)


def _head(cells: Cells, found: Slice) -> list[str]:
    lines = [HEAD]
    if cells.futures:
        lines += ["", f"from __future__ import {', '.join(cells.futures)}"]
    if found.literals:
        lines += ["", "# No cell defines these; they are what the session held when it was exported."]
        lines += [f"{name} = {value}" for name, value in found.literals.items()]
    return lines


class _Imports:
    """The imports of one file, each of them written once."""

    def __init__(self, used: set[str], nodes: Iterable[ast.stmt]) -> None:
        self._used, self._written = used, dict[str, set[str]]()
        self._plain = [
            alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names if not alias.asname
        ]

    def text(self, statement: Statement, names: frozenset[str]) -> str:
        """A statement's text; of an import, what is used of it and not there yet."""
        node = statement.node
        if not isinstance(node, ast.Import | ast.ImportFrom):
            return statement.text
        kept = [alias for alias in node.names if self._is_wanted(node, alias, names)]
        for alias in kept:
            self._written.setdefault(_bound(node, alias), set()).add(ast.unparse(_only(node, [alias])))
        if len(kept) == len(node.names):
            return statement.text
        above = [line for line in statement.text.split("\n") if line.startswith("#")]
        return "\n".join([*above, ast.unparse(_only(node, kept))]) if kept else ""

    def rebound(self, name: str, statement: Statement) -> None:
        """Forget what was imported under a name that a statement binds anew."""
        if not isinstance(statement.node, ast.Import | ast.ImportFrom):
            self._written.pop(name, None)

    def _is_wanted(self, node: ast.Import | ast.ImportFrom, alias: ast.alias, names: frozenset[str]) -> bool:
        bound = _bound(node, alias)
        if bound not in names or ast.unparse(_only(node, [alias])) in self._written.get(bound, ()):
            return False
        if isinstance(node, ast.ImportFrom) or alias.asname or "." not in alias.name:
            return True
        mentioned = any(each == alias.name or each.startswith(f"{alias.name}.") for each in self._used)
        return mentioned or not any(each != alias.name and each.partition(".")[0] == bound for each in self._plain)


def _bound(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    return alias.asname or (alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name)


def _only(node: ast.Import | ast.ImportFrom, aliases: list[ast.alias]) -> ast.stmt:
    return ast.Import(aliases) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, aliases, node.level)


def _once(flow: Flow, kept: Mapping[int, frozenset[str]]) -> Iterable[int]:
    """The statements without those that only repeat what is there already, as where a cell was run twice."""
    seen = dict[str, int]()
    for at in kept:
        text, (name, *more) = flow.statements[at].text, sorted(flow.does[at].always) or [""]
        before = seen.get(text)
        if (
            before is not None
            and not more
            and flow.reaching(name, at) == [before]
            and _is_timeless(flow.statements[at].node)
            and all(_same_before(flow, each, before, at) for each in flow.does[at].early)
        ):
            continue
        seen[text] = at
        yield at


def _same_before(flow: Flow, name: str, one: int, other: int) -> bool:
    return flow.reaching(name, one) == flow.reaching(name, other)


def _is_timeless(node: ast.stmt) -> bool:
    """Whether running a statement again makes nothing that differs from what it made before, and forgets nothing."""
    match node:
        case ast.Assign(value=value):
            return _is_constant(value)
        case (
            ast.FunctionDef(args=given, decorator_list=decorators)
            | ast.AsyncFunctionDef(args=given, decorator_list=decorators)
        ):
            defaults = [*given.defaults, *(each for each in given.kw_defaults if each is not None)]
            return all(map(_is_constant, defaults)) and all(isinstance(each, ast.Name) for each in decorators)
        case ast.ClassDef(body=body, decorator_list=[]):
            return all(_is_timeless(each) for each in body)
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            return True
        case ast.AnnAssign(value=value):
            return value is None or _is_constant(value)
    return False


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Tuple) and all(map(_is_constant, node.elts)))
