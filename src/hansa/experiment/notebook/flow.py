"""The way of names through a notebook: which statements a name may come from at some point, and what each statement changes.

Cells are taken in the order in which they ran, so what comes out is what the session went through. This file must not know what
is wanted of it.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hansa.experiment.notebook import words
from hansa.experiment.notebook.cells import Statement
from hansa.experiment.notebook.names import Call, Names, changing_methods, dotted


@dataclass(frozen=True, slots=True)
class _Event:
    """That statement `at` does something with a name: "binds" it for certain, "may" bind it, or "deletes" it."""

    at: int
    kind: str


class Flow:
    """A notebook's statements with what each does.

    Args:
        statements: in the order in which they ran.
        does: what each does with names.
        entry: the experiment's name: it is frozen, so what it is given to does not change it.
    """

    def __init__(self, statements: Sequence[Statement], does: Sequence[Names], entry: str) -> None:
        self.statements, self.does, self.end = statements, does, len(statements)
        self._bound = dict[str, list[_Event]]()
        classes = [each.node for each in statements if isinstance(each.node, ast.ClassDef)]
        self._changing_methods = frozenset[str]().union(*map(changing_methods, classes))
        for at, names in enumerate(does):
            if statements[at].broke_off and not _has_a_body(statements[at].node):
                continue  # it raised before it came to binding anything
            sure = "may" if statements[at].raised else "binds"
            for kind, bound in ((sure, names.always), ("may", names.perhaps), ("deletes", names.deleted)):
                for name in bound:
                    self._bound.setdefault(name, []).append(_Event(at, kind))
        self.changed = [self._changes(at) - ({entry} - does[at].touched) for at in range(self.end)]
        self._known = dict[tuple[str, int], list[int]]()
        self._events = {name: list(events) for name, events in self._bound.items()}
        for at, changed in enumerate(self.changed):
            for name in changed - does[at].always:
                self._events.setdefault(name, []).append(_Event(at, "may"))
        for events in self._events.values():
            events.sort(key=lambda event: event.at)

    def reaching(self, name: str, at: int) -> list[int]:
        """The statements before `at` that a name's value there may come from, or have been changed by; the last first.

        What lies before one that reads the name itself is left to that one.
        """
        if (name, at) not in self._known:
            found = self._walked(self._events.get(name, []), name, at)
            reads = (index for index, where in enumerate(found, start=1) if name in self.does[where].early)
            self._known[name, at] = found[: next(reads, None)]
        return self._known[name, at]

    def definitions(self, name: str, at: int) -> list[int]:
        """The same without those that only change it."""
        return self._walked(self._bound.get(name, []), name, at)

    def _walked(self, events: Sequence[_Event], name: str, at: int) -> list[int]:
        found, imported = list[int](), False
        for event in reversed(events):
            if event.at >= at:
                continue
            if event.kind == "deletes":
                break
            plain = self._imports(event.at, name)
            if not imported or plain:
                found.append(event.at)
            if event.kind == "binds":
                if not plain:
                    break
                imported = True  # `import a` and `import a.b` bind the same module, and each brings a part of it
        return list(dict.fromkeys(found))

    def _imports(self, at: int, name: str) -> bool:
        node = self.statements[at].node
        return isinstance(node, ast.Import) and any(
            alias.asname is None and alias.name.partition(".")[0] == name for alias in node.names
        )

    def deleted_by(self, name: str, at: int) -> int | None:
        """The statement before `at` that took a name away, if that is what happened to it last."""
        last = next((event for event in reversed(self._bound.get(name, [])) if event.at < at), None)
        return last.at if last is not None and last.kind == "deletes" else None

    def bound_after(self, name: str, at: int) -> int | None:
        """The first statement from `at` on that binds a name."""
        return next(
            (event.at for event in self._bound.get(name, []) if event.at >= at and event.kind != "deletes"), None
        )

    def origins(self, name: str, at: int) -> set[tuple[int, str]]:
        """Where a name's object may come from, other names for it included: statements, each with its name."""
        found, left = set[tuple[int, str]](), [(name, at)]
        while left:
            each, before = left.pop()
            for where in self.reaching(each, before):
                if (where, each) not in found:
                    found.add((where, each))
                    same = self.does[where].same.get(each, set())
                    left += [(other, where) for other in {*same, each} & self.does[where].early.keys()]
        return found

    # calls

    def full_name(self, name: str, at: int) -> str:
        """A dotted name as its module knows it: "pandas.read_csv" for "pd.read_csv"; "?" stands for what is made in a cell."""
        root, dot, rest = name.partition(".")
        if not root:
            return name
        found = self.definitions(root, at)
        for where in found:
            if imported := _imported(self.statements[where].node, root):
                return imported + dot + rest
            match self.statements[where].node:
                case ast.Assign(value=ast.Name() | ast.Attribute() as value) if (other := dotted(value)).partition(".")[
                    0
                ]:
                    return self.full_name(other + dot + rest, where)
        if root in words.INTERACTIVE and not found:
            return name
        if found or not hasattr(builtins, root):
            return f"?{dot}{rest}"
        return f"builtins.{name}"

    def functions(self, name: str, at: int) -> list[int]:
        """The functions and classes made in cells that a plain name may stand for, under another name as well."""
        found = list[int]()
        for where in self.definitions(name, at) if name.isidentifier() else ():
            match self.statements[where].node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Assign(value=ast.Lambda()):
                    found.append(where)
                case ast.Assign(value=ast.Name(id=other)):
                    found += self.functions(other, where)
        return found

    def calls_behind(self, at: int) -> Iterator[tuple[Call, int]]:
        """What a function calls, directly and through other functions of the notebook, each with the function."""
        seen, left = set[int](), [at]
        while left:
            where = left.pop()
            if where in seen:
                continue
            seen.add(where)
            for call in self.does[where].calls_late:
                yield call, where
                left += self.functions(call.name, self.end)

    def module(self, name: str, at: int) -> str:
        """The full name of the module that a name is taken from, "<torch>"; empty where it is not imported."""
        full = next((_imported(self.statements[where].node, name) for where in self.definitions(name, at)), "")
        return f"<{full.partition('.')[0]}>" if full else ""

    def _changes(self, at: int) -> set[str]:
        """The names whose objects a statement changes, or that functions which it calls bind.

        A module that it changes, such as by a seed, goes by its full name: others may have it under another one.
        """
        found, by_functions = set(self.does[at].touched), set[str]()
        if isinstance(self.statements[at].node, ast.Expr):
            found = {name for name in found if not self.module(name, at)}  # of `nn.init.zeros_(x)` only `x`
        for call in self.does[at].calls:
            if call.name.rpartition(".")[2] in self._changing_methods:
                found |= call.on
            functions = self.functions(call.name, at)
            for function in functions:
                by_functions |= self._changes_late(function)
                if self._changes_given(function):
                    found |= call.given
            if call.effect and not functions and not self._only_shows(call, at):
                found |= self._effect(call, at)
        found = {
            name for name in found if self.definitions(name, at)
        } | by_functions  # these may bind what was not there
        return {self.module(name, at) or name for name in found}

    def _effect(self, call: Call, at: int) -> frozenset[str]:
        """What a call that is made for its effect may change: a module only where it says so, or is given nothing else."""
        on = call.on or ({call.name} if call.name.isidentifier() else set())
        modules = {name for name in on if self.module(name, at)}
        given = frozenset(name for name in call.given if not self.module(name, at))
        return given | on if not given or words.sets(call.name) else given | on - modules

    def _changes_late(self, function: int) -> set[str]:
        found = set(self.does[function].touched_late)
        for call, where in self.calls_behind(function):
            found |= self.does[where].touched_late
            if call.effect and not self.functions(call.name, self.end) and not self._only_shows(call, self.end):
                found |= self._effect(call, self.end) & self.does[where].late.keys()
        return set() if self._draws(function) else found

    def _changes_given(self, function: int) -> bool:
        if self._draws(function):
            return False
        if self.does[function].changes_given:
            return True
        return any(
            call.theirs and (self.does[where].changes_given or (call.effect and not self._only_shows(call, self.end)))
            for call, where in self.calls_behind(function)
        )

    def _draws(self, function: int) -> bool:
        return any(words.draws(self.full_name(name, self.end)) for name in self.does[function].late)

    def _only_shows(self, call: Call, at: int) -> bool:
        """Whether a call only shows something, or is one of an object that does, such as `ax` of `plt.subplots()`."""
        if words.only_shows(self.full_name(call.name, at)):
            return True
        name, seen = call.name, set[str]()
        while (root := name.partition(".")[0]) not in seen:
            seen.add(root)
            makers = [_maker(_made(self.statements[where].node)) for where in self.definitions(root, at)]
            name = makers[0] if makers else ""
            if words.shows(self.full_name(name, at)):
                return True
        return False


def _has_a_body(node: ast.stmt) -> bool:
    return isinstance(
        node, ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match
    )


def _made(node: ast.stmt) -> ast.AST:
    """A definition, or the value of an assignment."""
    return node.value if isinstance(node, ast.Assign) else node


def _maker(value: ast.AST) -> str:
    """The dotted name of what a value is made by or taken from; empty where there is none."""
    match value:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _maker(inner)
        case ast.Attribute(value=inner, attr=attribute):
            return f"{before}.{attribute}" if (before := _maker(inner)) else ""
        case ast.Name(id=name):
            return name
    return ""


def _imported(node: ast.stmt, name: str) -> str:
    """The full name of what an import binds to a name, wherever in a statement the import stands; else empty."""
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return ""
        if isinstance(each, ast.Import):
            for alias in each.names:
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    return alias.name if alias.asname else name
        if isinstance(each, ast.ImportFrom):
            for alias in each.names:
                if (alias.asname or alias.name) == name:
                    return f"{'.' * each.level}{each.module or ''}.{alias.name}"
    return ""
