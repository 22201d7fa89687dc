"""Which statements of a notebook an experiment is made of, and why they might not run anywhere else; nothing is run.

The statements that bind `experiment` are needed, and whatever those need: what they read while they ran, and what functions in
them read when they are called. This file must not know how the result is written down.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hansa.experiment.notebook import words
from hansa.experiment.notebook.flow import Flow
from hansa.experiment.sources import Trouble

_MODULE_NAMES = frozenset({"__name__", "__file__", "__doc__", "__debug__", "__builtins__", "__annotations__"})
_APART = 'what only belongs here can stand under `if __name__ == "__main__":`'


@dataclass(frozen=True)
class Slice:
    """What of a notebook is needed.

    Attributes:
        kept: the names that each needed statement is there for, by its index.
        literals: what no cell defines and the session holds, as Python writes it, by name.
        troubles: what would not run anywhere else.
    """

    kept: Mapping[int, frozenset[str]]
    literals: Mapping[str, str]
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True)
class _Need:
    """That the statement `by` needs a name, as it stands before the statement `at`; `must` it be there?"""

    name: str
    at: int
    by: int
    must: bool = True


def sliced(flow: Flow, entry: str, literal: Callable[[str], str | None], unseen: Callable[[str], str]) -> Slice:
    """The slice of a notebook that `entry` is made of.

    Args:
        flow: the notebook.
        entry: the experiment's name.
        literal: what the session holds under a name that no cell defines, where it can be written down.
        unseen: for a name that no cell defines, where it may have come from.
    """
    slicing = _Slicing(flow, literal, unseen)
    slicing.need(_Need(entry, flow.end, flow.end))
    slicing.work()
    return Slice(
        {at: frozenset(slicing.kept[at]) for at in sorted(slicing.kept)},
        dict(sorted(slicing.literals.items())),
        tuple(trouble for _, trouble in sorted(slicing.troubles, key=lambda each: (each[0], each[1].what))),
    )


class _Slicing:
    """One slice being made."""

    def __init__(self, flow: Flow, literal: Callable[[str], str | None], unseen: Callable[[str], str]) -> None:
        self._flow, self._literal, self._unseen = flow, literal, unseen
        self._todo, self._known = list[_Need](), set[tuple[str, int, bool]]()
        self._asked, self._judged = dict[int, set[str]](), set[int]()
        self._late = self._late_names()
        self.kept = dict[int, set[str]]()
        self.literals = dict[str, str]()
        self.troubles = list[tuple[int, Trouble]]()

    def need(self, need: _Need) -> None:
        if (need.name, need.at, need.must) not in self._known:
            self._known.add((need.name, need.at, need.must))
            self._todo.append(need)

    def work(self) -> None:
        """Follow every need, then take in what changes the objects found, until there is no more."""
        while self._todo or self._take_changes():
            while self._todo:
                self._follow(self._todo.pop())

    def _take_changes(self) -> bool:
        before = len(self.kept)
        modules = {self._flow.module(name, where + 1) for where, names in self.kept.items() for name in names}
        for at in range(self._flow.end):
            if at in self.kept:
                continue
            for name in self._flow.changed[at]:
                if name in modules or any(
                    each in self.kept.get(where, ()) for where, each in self._flow.origins(name, at)
                ):
                    self._take(at, name, at)
                    break
        return len(self.kept) > before

    def _follow(self, need: _Need) -> None:
        found = self._flow.reaching(need.name, need.at)
        if not found and need.must and not self._is_elsewhere(need.name):
            self._miss(need)
        for at in found:
            self._take(at, need.name, need.at)

    def _take(self, at: int, name: str, use: int) -> None:
        self.kept.setdefault(at, set()).add(name)
        if self._flow.statements[at].raised:
            self._trouble(
                at,
                f"`{name}` is needed, and this raised {self._flow.statements[at].raised}: nobody can tell how far it went",
                "mend the cell and run it again, from where the name begins",
            )
            return
        if at not in self._judged or self._late[at]:
            self._visit(at, use)
        if at not in self._judged:
            self._judged.add(at)
            self._judge(at, name)

    def _visit(self, at: int, use: int) -> None:
        """Ask for what a statement reads, given that its result is used at `use`, where its functions may be called."""
        does = self._flow.does[at]
        if at not in self._judged:
            for name in does.early:
                self.need(_Need(name, at, at))
            for name in does.late if _may_call_its_own(self._flow.statements[at].node) else ():
                self.need(_Need(name, at, at, must=False))
            for name in does.soft:
                self.need(_Need(name, self._flow.end, at, must=False))
                self.need(_Need(name, at, at, must=False))
        for name in does.late:
            self.need(_Need(name, self._flow.end, at, must=not self._flow.reaching(name, use)))
        asked = self._asked.setdefault(use, set())
        new = self._late[at] - asked
        asked |= new
        for name in new:
            self.need(_Need(name, use, at, must=False))

    def _late_names(self) -> list[frozenset[str]]:
        """By statement the names that functions in its result may read, in what it only holds as well."""
        found = list[frozenset[str]]()
        for at, does in enumerate(self._flow.does):
            held = {where for name in does.early for where in self._flow.reaching(name, at)}
            found.append(frozenset(does.late).union(*(found[where] for where in held)))
        return found

    # troubles

    def _trouble(self, at: int, what: str, hint: str, line: int = 0) -> None:
        where = f"cell {self._flow.statements[at].cell}, line {line}" if line else self._flow.statements[at].where
        self.troubles.append((at, Trouble(what, where, hint)))

    def _judge(self, at: int, name: str) -> None:
        """Say what keeps a needed statement from running elsewhere."""
        does = self._flow.does[at]
        if does.waits:
            self._trouble(
                at,
                f"`{name}` is needed, and it is made with `await`, which a file cannot do at its top",
                "put it into a function, or wait with asyncio.run(...)",
                does.waits,
            )
        for call in does.calls:
            if what := words.outside(self._flow.full_name(call.name, at)):
                self._outside(at, name, what, call.name, call.line)
            for function in self._flow.functions(call.name, at):
                for inner, _ in self._flow.calls_behind(function):
                    if what := words.outside(self._flow.full_name(inner.name, self._flow.end)):
                        self._outside(at, name, what, f"{inner.name} in {call.name}", call.line)

    def _outside(self, at: int, name: str, what: str, call: str, line: int) -> None:
        if what == words.NOTEBOOK:
            typed = self._flow.statements[at].text.rpartition("# ")[2]
            hint = f"write the value of `{name}` into a cell"
            self._trouble(at, f"`{name}` is needed, and {what}: {typed}", hint, line)
            return
        if what == words.FEDERATION:
            hint = f"let nothing that `{name}` is made of ask the federation; {_APART}"
        else:
            hint = f"write what you need of it into a cell as a value, such as `classes = 10`; {_APART}"
        self._trouble(at, f"`{name}` is needed, and {what} ({call}), which an owner does not have", hint, line)

    def _is_elsewhere(self, name: str) -> bool:
        """Whether Python has a name by itself; or the session does, and it can be written down."""
        if name in self.literals or name in _MODULE_NAMES:
            return True
        if name in words.INTERACTIVE:
            return False
        if (literal := self._literal(name)) is not None:
            self.literals[name] = literal
            return True
        return hasattr(builtins, name) and not self._unseen(name)

    def _miss(self, need: _Need) -> None:
        flow, name = self._flow, need.name
        if need.by < flow.end and any(call.name == name == "get_ipython" for call in flow.does[need.by].calls):
            return  # what the call asks for is told where the statement is judged
        by = min(need.by, flow.end - 1)
        if need.by == flow.end:
            line, user = 0, "the experiment itself"
        else:
            does = flow.does[need.by]
            line = does.early.get(name) or does.late.get(name) or 0
            user = ""
        if name in words.INTERACTIVE:
            what, hint = f"`{name}` is only there in a notebook", "do without it in what the experiment is made of"
        elif (gone := flow.deleted_by(name, need.at)) is not None:
            what = f"`{name}` is needed, and {flow.statements[gone].where} deletes it"
            hint = "run the cell that defines it again"
        elif (later := flow.bound_after(name, need.at)) is not None:
            what = f"`{name}` is needed here, and only {flow.statements[later].where} defines it"
            hint = "put the cells in the order in which they run"
        elif (star := self._star(need.at)) is not None:
            what = f"`{name}` is needed, and no cell defines it but perhaps `{ast.unparse(flow.statements[star].node)}`"
            hint = f"name what you import: from {_module(flow.statements[star].node)} import {name}"
        else:
            what = f"`{name}` is needed, and no cell defines it"
            hint = self._unseen(name) or "define it in a cell, and run that"
        if user or flow.end == 0:
            self.troubles.append((flow.end, Trouble(what, "", hint)))
        else:
            self._trouble(by, what, hint, line)

    def _star(self, at: int) -> int | None:
        found = (each for each in range(at) if "*" in self._flow.does[each].always | self._flow.does[each].perhaps)
        return next(found, None)


def _may_call_its_own(node: ast.stmt) -> bool:
    """Whether a statement may call a function that it makes: any but a plain definition."""
    match node:
        case (
            ast.FunctionDef(decorator_list=[])
            | ast.AsyncFunctionDef(decorator_list=[])
            | ast.ClassDef(decorator_list=[])
        ):
            return False
        case ast.Assign(value=ast.Lambda()):
            return False
    return True


def _module(node: ast.stmt) -> str:
    found = (each.module or "" for each in ast.walk(node) if isinstance(each, ast.ImportFrom))
    return next(found, "")
