"""A notebook's session, held against its cells: what only the session knows, and what it holds that no cell would give.

Values are looked at and never called. This file must not know which cells are needed.
"""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Iterator, Mapping
from importlib.abc import InspectLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

from hansa.experiment.notebook.flow import Flow
from hansa.experiment.notebook.slicing import Slice
from hansa.experiment.sources import Trouble

_HINT = "run the cell again, or put into a cell what made it"


def literal(namespace: Mapping[str, Any], name: str) -> str | None:
    """A session's value as Python writes it: None, a number, text, bytes, or a tuple of those. None where it is none."""
    if name not in namespace or not _is_plain(value := namespace[name]):
        return None
    try:
        same = ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return repr(value) if same else None


def _is_plain(value: object) -> bool:
    return (
        value is None
        or type(value) in (bool, int, float, str, bytes)
        or (type(value) is tuple and all(map(_is_plain, value)))
    )


def described(namespace: Mapping[str, Any], name: str, left_out: Mapping[int, str]) -> str:
    """Where a name that no cell defines may have come from; empty where nothing speaks for any place."""
    own = getattr(builtins, name, None)
    if name in namespace and name != "open" and (own is None or namespace[name] is not own):
        if isinstance(namespace[name], ModuleType):
            return f"the session holds a module under this name: import it in a cell, import {namespace[name].__name__}"
        kind = type(namespace[name]).__name__
        return f"the session holds a {kind} that came from elsewhere (exec, a magic, an extension): define it in a cell"
    if own is not None or not left_out:
        return ""
    why = "; ".join(f"cell {number} is left out: {what}" for number, what in list(left_out.items())[:3])
    return f"define it in a cell of plain Python ({why})"


def differences(flow: Flow, found: Slice, namespace: Mapping[str, Any], futures: tuple[str, ...]) -> Iterator[Trouble]:
    """What functions of the slice would find other than the session does: definitions and constants that no cell gives.

    A class or function that a decorator has wrapped is compared as far as it can be unwrapped.

    Args:
        flow: the notebook.
        found: what is needed of it.
        namespace: the session's names.
        futures: what its cells import from `__future__`, which changes what Python makes of a function.
    """
    for at, name in [(at, name) for at, names in found.kept.items() for name in sorted(names)]:
        if name not in namespace or flow.reaching(name, flow.end) != [at]:
            continue  # it was bound anew, or changed, since
        node, value = flow.statements[at].node, namespace[name]
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                same = any(_is_function_of(value, node, code) for code in _codes(flow, at, futures))
            case ast.ClassDef():
                is_class = isinstance(value, type) and value.__name__ == name
                same = is_class and any(_has_methods_of(value, node, code) for code in _codes(flow, at, futures))
            case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=written)):
                same = type(value) is type(written) and value == written
            case _:
                continue
        if not same:
            what = f"the session's `{name}` is not the one that this cell gives"
            yield Trouble(what, flow.statements[at].where, _HINT)


def _is_function_of(value: object, node: ast.FunctionDef | ast.AsyncFunctionDef, code: CodeType) -> bool:
    """Whether a value is the function that a definition gives; what cannot be told counts as if it were."""
    if node.decorator_list:
        value = inspect.unwrap(value) if callable(value) else value
        if not isinstance(value, FunctionType) or value.__name__ != node.name:
            return True
    return isinstance(value, FunctionType) and _alike(value.__code__, code)


def _has_methods_of(value: type, node: ast.ClassDef, code: CodeType) -> bool:
    inner = {each.co_name: each for each in code.co_consts if isinstance(each, CodeType)}
    plain = [
        each
        for each in node.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.decorator_list
    ]
    last = {each.name: each for each in plain if not (each.name.startswith("__") and not each.name.endswith("__"))}
    for name in last:
        method = value.__dict__.get(name)
        if name in inner and isinstance(method, FunctionType) and not _alike(method.__code__, inner[name]):
            return False
    return True


def _codes(flow: Flow, at: int, futures: tuple[str, ...]) -> Iterator[CodeType]:
    """What Python may have made of a definition; it is not run.

    A call through a module becomes other code where the module's import is compiled with it. IPython compiles each statement by
    itself, others a whole cell.
    """
    statement = flow.statements[at]
    before: list[ast.stmt] = [ast.ImportFrom("__future__", [ast.alias(each) for each in futures], 0)] if futures else []
    own = [each.node for each in flow.statements if each.cell == statement.cell]
    imports = [node for node in own if isinstance(node, ast.Import | ast.ImportFrom)]
    for together in ([*before, statement.node], [*before, *imports, statement.node]):
        whole = InspectLoader.source_to_code(ast.unparse(ast.fix_missing_locations(ast.Module(together, []))))
        yield [each for each in whole.co_consts if isinstance(each, CodeType)][-1]


def _alike(one: CodeType, other: CodeType) -> bool:
    """Whether two pieces of code do the same, wherever they were written."""
    if (one.co_code, one.co_names, one.co_varnames, one.co_freevars, one.co_cellvars) != (
        (other.co_code, other.co_names, other.co_varnames, other.co_freevars, other.co_cellvars)
    ):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    return all(map(_same_constant, one.co_consts, other.co_consts))


def _same_constant(one: object, other: object) -> bool:
    """Whether two constants in code are one and the same; by how they are written, as 1 is not 1.0, nor 0.0 -0.0."""
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return _alike(one, other)
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))  # their order hangs on how they came to be
    return type(one) is type(other) and repr(one) == repr(other)
