"""Reading one statement's syntax tree in the order in which it would run, to tell what it does with names; nothing is run.

This file must not know that there are other statements.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from hansa.experiment.notebook.names import Call, Names, bound_in, dotted, named, parameters, roots
from hansa.experiment.notebook.words import changes_arguments, changes_its_object

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def names_of(node: ast.stmt, *, lazy_annotations: bool = False) -> Names:
    """What a statement does with names.

    Args:
        node: the statement, at the top of a cell.
        lazy_annotations: whether `from __future__ import annotations` holds.
    """
    walk = _Walk(lazy_annotations)
    walk.visit(node)
    found = walk.found
    found.always = walk.bound - found.deleted
    found.perhaps -= found.always
    return found


@dataclass
class _Scope:
    """The names of a function, a class or a comprehension."""

    kind: type[ast.AST]
    names: set[str]
    everywhere: set[str] = field(default_factory=set)
    given: frozenset[str] = frozenset()


class _Walk(ast.NodeVisitor):
    """One statement being read, in the order in which it runs."""

    def __init__(self, lazy_annotations: bool) -> None:
        self.found, self.bound = Names(), set[str]()
        self._lazy, self._scopes = lazy_annotations, list[_Scope]()
        self._same_inside = dict[str, set[str]]()

    # where a name belongs

    @property
    def _late(self) -> bool:
        return any(scope.kind is ast.FunctionDef for scope in self._scopes)

    def _is_local(self, name: str) -> bool:
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.everywhere:
                return False
            if name in scope.names and (scope.kind is not ast.ClassDef or depth == 0):
                return True
        return False

    def _read(self, name: str, line: int) -> None:
        if self._is_local(name):
            return
        if self._late or any(scope.kind is ast.GeneratorExp for scope in self._scopes):
            self.found.late.setdefault(name, line)
        if not self._late and name not in self.bound:
            self.found.early.setdefault(name, line)

    def _bind(self, name: str, *, through_comprehensions: bool = False) -> None:
        scopes = [each for each in self._scopes if not (through_comprehensions and _is_comprehension(each.kind))]
        if not scopes:
            self.found.perhaps.add(name)
            if not self._scopes:
                self.bound.add(name)
                self.found.deleted.discard(name)
        elif name in scopes[-1].everywhere:
            self.found.touched_late.add(name)
        else:
            scopes[-1].names.add(name)

    def _touch(self, names: Iterable[str]) -> None:
        for name in self._also_known_as(names):
            if self._is_local(name):
                self.found.changes_given = self.found.changes_given or self._is_given(name)
            elif self._late:
                self.found.touched_late.add(name)
            else:
                self.found.touched.add(name)

    def _is_given(self, name: str) -> bool:
        return any(name in scope.given for scope in self._scopes)

    def _also_known_as(self, names: Iterable[str]) -> set[str]:
        same, left, seen = self._same_inside if self._late else self.found.same, list(names), set[str]()
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += same.get(name, ())
        return seen

    def _become(self, target: ast.expr, value: ast.expr | None) -> None:
        """Note that names stand for what others stand for, or a part of it."""
        same = self._same_inside if self._late else self.found.same
        for each in ast.walk(target):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                same.setdefault(each.id, set()).update(roots(value) - {each.id})

    # expressions

    def visit_Name(self, node: ast.Name) -> None:
        match node.ctx:
            case ast.Load():
                self._read(node.id, node.lineno)
                self.found.dotted.add(node.id)
            case ast.Store():
                self._bind(node.id)
            case ast.Del() if not self._scopes:
                self.found.deleted.add(node.id)
                self.bound.discard(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.found.dotted.add(dotted(node))
        if not isinstance(node.ctx, ast.Load):
            self._touch(roots(node.value))
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._touch(roots(node.value))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call, *, effect: bool = False) -> None:
        name = dotted(node.func)
        on = roots(node.func.value) if isinstance(node.func, ast.Attribute) else frozenset[str]()
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        given = frozenset[str]().union(*map(roots, arguments))
        last = name.rpartition(".")[2]
        if on and changes_its_object(last):
            self._touch(on)
        if changes_arguments(last):
            self._touch(given)
        theirs = self._late and any(map(self._is_given, self._also_known_as(on | given)))
        self._note(Call(name, node.lineno, on, given, effect, theirs))
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value
        if isinstance(value, ast.Await):
            self._wait(value)
            value = value.value
        if isinstance(value, ast.Call):
            self.visit_Call(value, effect=True)
        else:
            self.visit(value)

    def _wait(self, node: ast.expr | ast.stmt) -> None:
        if not self._late and not self.found.waits:
            self.found.waits = node.lineno

    def visit_Await(self, node: ast.Await) -> None:
        self._wait(node)
        self.visit(node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target.id, through_comprehensions=True)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self._branches([node.values[1:], []])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self._branches([[node.body], [node.orelse]])

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, [node.body])

    def _comprehension(self, node: _Comprehension) -> None:
        self.visit(node.generators[0].iter)
        targets = {each.id for one in node.generators for each in ast.walk(one.target) if isinstance(each, ast.Name)}
        self._scopes.append(_Scope(type(node), targets))
        for index, one in enumerate(node.generators):
            if one.is_async:
                self._wait(node)
            for part in [*([one.iter] if index else []), *one.ifs]:
                self.visit(part)
        for result in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
            self.visit(result)
        self._scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    # definitions

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._decorators(node.decorator_list)
        generic = self._open_generic(node)
        for annotation in [node.returns, *(each.annotation for each in parameters(node.args))]:
            self._annotation(annotation)
        self._function(node, node.body)
        self._close(generic)
        self._bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._decorators(node.decorator_list)
        generic = self._open_generic(node)
        for each in [*node.bases, *(keyword.value for keyword in node.keywords)]:
            self.visit(each)
            self._calls(each)  # a base may have __init_subclass__ or a metaclass
        self._scopes.append(_Scope(ast.ClassDef, {"__module__", "__qualname__"}))
        self._all(node.body)
        self._scopes.pop()
        self._close(generic)
        self._bind(node.name)

    def _open_generic(self, node: ast.AST) -> bool:
        """Bind the type parameters of `def f[T]()`, which Python has had since 3.12; whether there are any."""
        names = {each.name for each in getattr(node, "type_params", ())}
        if names:
            self._scopes.append(_Scope(ast.ListComp, names))
        return bool(names)

    def _close(self, opened: bool) -> None:
        if opened:
            self._scopes.pop()

    def _decorators(self, nodes: Iterable[ast.expr]) -> None:
        for each in nodes:
            self.visit(each)
            self._calls(each)

    def _calls(self, node: ast.expr) -> None:
        if not isinstance(node, ast.Call):
            self._note(Call(dotted(node), node.lineno))

    def _note(self, call: Call) -> None:
        (self.found.calls_late if self._late else self.found.calls).append(call)

    def _function(self, node: _Function, body: Iterable[ast.AST]) -> None:
        for default in [*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]:
            self.visit(default)
        parts, given = list(body), [each.arg for each in parameters(node.args)]
        local, everywhere = bound_in(parts)
        is_method = bool(self._scopes) and self._scopes[-1].kind is ast.ClassDef
        self._scopes.append(
            _Scope(ast.FunctionDef, local | set(given) | {"__class__"}, everywhere, frozenset(given[is_method:]))
        )
        self._all(parts)
        self._scopes.pop()

    def _annotation(self, node: ast.expr | None) -> None:
        """An annotation; what is text in it, or is never evaluated, is needed only where it is to be had."""
        if node is None:
            return
        if self._lazy:
            self.found.soft |= named(node)
        else:
            self.visit(node)
            for each in ast.walk(node):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    self.found.soft |= named(each)

    # statements

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            if not isinstance(node.value, ast.Call):
                self._become(target, node.value)
            self.visit(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self._read(node.target.id, node.lineno)
            if not self._is_local(node.target.id) or self._is_given(node.target.id):
                self._touch({node.target.id})
            if not self._scopes:
                self.found.perhaps.add(node.target.id)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._bind(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._bind(alias.asname or alias.name)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches([node.body, node.orelse])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        if isinstance(node, ast.AsyncFor):
            self._wait(node)
        self.visit(node.iter)
        self._become(node.target, node.iter)
        self._branches([[node.target, *node.body], []])
        self._branches([node.orelse, []])

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._branches([node.body, []])
        self._branches([node.orelse, []])

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        if isinstance(node, ast.AsyncWith):
            self._wait(node)
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._become(item.optional_vars, item.context_expr)
                self.visit(item.optional_vars)
        self._all(node.body)

    visit_AsyncWith = visit_With  # noqa: N815

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        self._branches([[*node.body, *node.orelse], *([each] for each in node.handlers)])
        self._all(node.finalbody)

    visit_TryStar = visit_Try  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self._bind(node.name)
        self._all(node.body)
        if node.name and not self._scopes:
            self.bound.discard(node.name)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        last = node.cases[-1]
        whole = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None and last.guard is None
        self._branches([[case] for case in node.cases] + ([] if whole else [[]]))

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.generic_visit(node)
        if node.name:
            self._bind(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self._bind(node.rest)

    def _all(self, nodes: Iterable[ast.AST]) -> None:
        for each in nodes:
            self.visit(each)

    def _branches(self, branches: Iterable[Iterable[ast.AST]]) -> None:
        """Ways that the code may go: bound afterwards is what is bound on each that comes to its end."""
        before, after, deleted = set(self.bound), list[set[str]](), set(self.found.deleted)
        for branch in branches:
            self.bound = set(before)
            nodes = list(branch)
            self._all(nodes)
            if not _leaves(nodes):
                after.append(self.bound)
        self.bound = before | set.intersection(*after) if after else before
        self.found.deleted = deleted  # only perhaps


def _leaves(nodes: list[ast.AST]) -> bool:
    """Whether code ends by raising."""
    if nodes and isinstance(nodes[-1], ast.ExceptHandler):
        return _leaves(list(nodes[-1].body))
    return bool(nodes) and isinstance(nodes[-1], ast.Raise)


def _is_comprehension(kind: type[ast.AST]) -> bool:
    return kind in (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
