"""What a piece of Python imports, read from its source: nothing is run.

An import counts as needed, or as optional where the code goes on without it (`try: ... except ImportError: ...`), or as unused
where it never runs at an owner (`if TYPE_CHECKING:`, `if __name__ == "__main__":`). What is imported by a computed name is
not seen. This file must not know where modules lie.
"""

from __future__ import annotations

import ast
import enum
import warnings
from dataclasses import dataclass

from hansa.errors import ExperimentFileError


class Reach(enum.Enum):
    """Whether an import runs where the experiment is run."""

    NEEDED = enum.auto()
    OPTIONAL = enum.auto()
    UNUSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Import:
    """One import.

    Attributes:
        module: its dotted name; without the leading dots, and so perhaps empty, where it is relative.
        names: what is taken from it; `("*",)` for everything, none for `import module`.
        level: how many leading dots.
        line: where it stands, the first line is 1.
        reach: whether it runs.
    """

    module: str
    names: tuple[str, ...]
    level: int
    line: int
    reach: Reach


def parse(text: str, where: str) -> ast.Module:
    """The syntax tree of a Python file.

    Raises:
        ExperimentFileError: it is no Python; with file and line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape is the author's business
            return ast.parse(text)
    except SyntaxError as problem:
        raise ExperimentFileError(
            f"this is no Python: {problem.msg}", where=f"{where}:{problem.lineno}", hint="correct it"
        ) from problem
    except (ValueError, RecursionError, MemoryError) as problem:
        raise ExperimentFileError(f"this is no Python that can be read: {problem}", where=where) from problem


def imports_of(code: ast.Module) -> tuple[Import, ...]:
    """Every import in a file, at whatever depth, by line."""
    found: list[Import] = []
    left: list[tuple[ast.AST, Reach]] = [(code, Reach.NEEDED)]
    while left:
        node, reach = left.pop()
        match node:
            case ast.Import():
                found += [Import(alias.name, (), 0, node.lineno, reach) for alias in node.names]
            case ast.ImportFrom():
                names = tuple(alias.name for alias in node.names)
                found.append(Import(node.module or "", names, node.level, node.lineno, reach))
            case ast.If() if _never_holds(node.test):
                left += [(each, Reach.UNUSED) for each in node.body] + [(each, reach) for each in node.orelse]
            case ast.Try() | ast.TryStar() if reach is Reach.NEEDED and _goes_on(node.handlers):
                left += [(each, Reach.OPTIONAL) for each in ast.iter_child_nodes(node)]
            case _:
                left += [(each, reach) for each in ast.iter_child_nodes(node)]
    return tuple(sorted(found, key=lambda each: (each.line, each.module, each.names)))


def exported(code: ast.Module) -> tuple[str, ...]:
    """The names in a literal `__all__`: what `from package import *` imports as modules too."""
    for node in code.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=names) | ast.Tuple(elts=names))
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.List(elts=names) | ast.Tuple(elts=names))
            ):
                return tuple(str(each.value) for each in names if isinstance(each, ast.Constant))
    return ()


def _never_holds(test: ast.expr) -> bool:
    """Whether a condition is false at an owner: type checkers and `python FILE.py` only."""
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]):
            return True
    return False


def _goes_on(handlers: list[ast.ExceptHandler]) -> bool:
    """Whether a failed import is caught, and nothing raised in its stead."""
    return any(
        _catches(each.type) and not any(isinstance(inner, ast.Raise) for inner in ast.walk(each)) for each in handlers
    )


def _catches(kind: ast.expr | None) -> bool:
    match kind:
        case None:
            return True
        case ast.Name(id="ImportError" | "ModuleNotFoundError" | "Exception" | "BaseException"):
            return True
        case ast.Tuple(elts=kinds):
            return any(map(_catches, kinds))
    return False
