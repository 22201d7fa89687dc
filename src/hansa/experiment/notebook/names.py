"""What a statement does with names: which it needs, binds, changes and calls.

A name is read early, while the statement runs, or late, when somebody calls a function that the statement makes. This file must
not know what any name stands for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from hansa.experiment.notebook.words import changes_its_object


@dataclass(frozen=True)
class Call:
    """A call, or the use of a dotted name.

    Attributes:
        name: what is called as it is written, such as "pd.read_csv"; ".read_text" where it is a method of something without a
            name.
        line: where.
        on: the names that its object hangs on.
        given: the names that its arguments are.
        effect: whether its result is thrown away, so that it is called for its effect.
        theirs: whether one of these is what a function around it was given.
    """

    name: str
    line: int
    on: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    effect: bool = False
    theirs: bool = False


@dataclass
class Names:
    """What one statement does with the notebook's names.

    Attributes:
        early: the names that it reads while it runs, with the line.
        late: the names that functions in it read when they are called.
        soft: the names in annotations that nobody need evaluate.
        always: the names that it binds whatever happens.
        perhaps: the other names that it may bind.
        deleted: the names that it takes away.
        touched: the names whose objects it changes in place.
        touched_late: the names that it binds or changes when a function in it is called.
        calls: what it calls while it runs.
        calls_late: what functions in it call.
        same: by name the names whose object, or a part of it, it becomes another name for.
        dotted: every dotted name in it, such as "torch.nn.functional".
        changes_given: whether a function in it changes what it is given, as far as this file can tell.
        waits: the line of an `await` outside of any function, or 0.
    """

    early: dict[str, int] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    soft: set[str] = field(default_factory=set)
    always: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)
    touched_late: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    calls_late: list[Call] = field(default_factory=list)
    same: dict[str, set[str]] = field(default_factory=dict)
    dotted: set[str] = field(default_factory=set)
    changes_given: bool = False
    waits: int = 0


def dotted(node: ast.expr) -> str:
    """A name with its attributes as it is written; it begins with "." where there is no name at its root."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            return f"{dotted(value)}.{attribute}"
    return ""


def roots(node: ast.expr | None) -> frozenset[str]:
    """The names that an object hangs on: `a` of `a.b[c]`, and all of `f(x)`, whose result may be a part of any."""
    match node:
        case ast.Name(id=name):
            return frozenset({name})
        case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
            return roots(value)
        case ast.Call(func=func, args=args):
            return roots(func).union(*map(roots, args))
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return frozenset().union(*map(roots, parts))
    return frozenset()


def changing_methods(node: ast.ClassDef) -> set[str]:
    """The methods of a class that change their own object, but for the one that makes it."""
    found = set[str]()
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) or method.name == "__init__":
            continue
        own = frozenset(each.arg for each in parameters(method.args)[:1])
        for each in ast.walk(method):
            match each:
                case (
                    ast.Attribute(value=value, ctx=ast.Store() | ast.Del())
                    | ast.Subscript(value=value, ctx=ast.Store() | ast.Del())
                ):
                    changed = roots(value)
                case ast.Call(func=ast.Attribute(value=ast.Attribute() as value, attr=name)) if changes_its_object(
                    name
                ):
                    changed = roots(value)
                case _:
                    continue
            if changed & own:
                found.add(method.name)
    return found


def parameters(given: ast.arguments) -> list[ast.arg]:
    """Everything that a function can be given."""
    return [
        *given.posonlyargs,
        *given.args,
        *given.kwonlyargs,
        *(each for each in (given.vararg, given.kwarg) if each is not None),
    ]


def bound_in(body: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """The names that a function's own code binds, and those that it declares to be the notebook's."""
    local, everywhere, outer = set[str](), set[str](), set[str]()
    left = list(body)
    while left:
        node = left.pop()
        match node:
            case ast.Global(names=names):
                everywhere.update(names)
            case ast.Nonlocal(names=names):
                outer.update(names)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                local.add(name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                local |= {each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr)}
                continue
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                local.add(name)
            case ast.Import(names=aliases):
                local |= {alias.asname or alias.name.partition(".")[0] for alias in aliases}
            case ast.ImportFrom(names=aliases):
                local |= {alias.asname or alias.name for alias in aliases}
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                local.add(name)
            case ast.MatchMapping(rest=str(name)):
                local.add(name)
        left += ast.iter_child_nodes(node)
    return local - everywhere - outer, everywhere


def named(node: ast.expr) -> set[str]:
    """The names in an annotation, whether it is code or text."""
    found = set[str]()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            try:
                inner = ast.parse(each.value, mode="eval").body
            except (SyntaxError, ValueError):
                continue
            found |= {name.id for name in ast.walk(inner) if isinstance(name, ast.Name)}
    return found
