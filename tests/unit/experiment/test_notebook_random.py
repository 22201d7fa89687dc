"""Notebooks drawn at random: what is exported gives what the session gave, when it is called later as well."""

from __future__ import annotations

import types
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hansa.experiment.notebook import export

PREAMBLE = """
import math as m, random
a, b, c = 1, 2, 3
xs, ys = [1], [2]
zs = [xs, [5]]
settings = {"a": 1, "deep": [4]}
def f(): return a
def g(): return f() + b
def h(): return 3
def grow(items): items.append(len(items))
def both(items):
    grow(items)
    return len(items)
class Kind:
    value = 1
    def get(self): return self.value + c
k = lambda d=a: d
class Kept:
    def __init__(self): self.items = []
    def bump(self):
        self.items.append(1)
        return len(self.items)
    def size(self): return len(self.items)
kept = Kept()
""".strip()
NUMBERS, LISTS, FUNCTIONS = st.sampled_from("abc"), st.sampled_from(["xs", "ys", "zs[0]"]), st.sampled_from("gh")
LIST = st.sampled_from(["xs", "ys"])
VALUES = st.one_of(
    st.integers(0, 4).map(str),
    NUMBERS,
    st.sampled_from(
        ["len(xs)", "len(ys)", "f()", "g()", "k()", "Kind.value", "Kind().get()", "both(ys)", "m.floor(2.5)"]
    ),
    st.sampled_from(["settings['a']", "len(settings['deep'])", "len([i + a for i in xs])", "(lambda: b)()", "h()"]),
)
PLAIN = st.one_of(st.integers(0, 4).map(str), NUMBERS, st.sampled_from(["len(xs)", "Kind.value", "settings['a']"]))


def filled(template: str) -> st.SearchStrategy[str]:
    kinds = {
        "n": NUMBERS,
        "o": NUMBERS,
        "v": VALUES,
        "w": VALUES,
        "l": LISTS,
        "p": LIST,
        "q": LIST,
        "e": PLAIN,
        "u": FUNCTIONS,
    }
    used = {name: kind for name, kind in kinds.items() if f"<{name}>" in template}
    return st.fixed_dictionaries(used).map(lambda drawn: put(template, drawn))


def put(template: str, drawn: dict[str, str]) -> str:
    for name, text in drawn.items():
        template = template.replace(f"<{name}>", text)
    return template


STATEMENTS = st.one_of(
    *map(
        filled,
        [
            "<n> = <v>",
            "<n>, <o> = <v>, <w>",
            "<n> += <v>",
            "<n>: int = <v>; print(<n>)",
            "<p> = [<v>]",
            "<p> = <q>",
            "<p> = zs[0]",
            "zs = [<p>, <q>]",
            "<p> += [<v>]",
            "<l>.append(<v>)",
            "<l>[0] = <v>",
            "settings['a'] = <v>",
            "settings['deep'].append(<v>)",
            "settings = {'a': <v>, 'deep': <p>}",
            "random.seed(<v>)\nrandom.shuffle(<l>)",
            "grow(<l>)",
            "<n> = both(<l>)",
            "for i in range(2):\n    <l>.append(i + <v>)",
            "for part in zs:\n    part.append(<v>)",
            "if <v> % 2:\n    <n> = <w>\nelse:\n    <o> = <w>",
            "if <v> % 2:\n    <p> = [<w>]\n    <p>.append(1)",
            "while len(<p>) < 3:\n    <p>.append(<e>)",
            "try:\n    <n> = 1 // (<v> % 2)\nexcept ZeroDivisionError:\n    <n> = <w>",
            "if (<n> := <v>) > 2:\n    <o> = <n>",
            "def f(): return <e>",
            "def g(x=<v>): return f() + <e> + x",
            "def h():\n    global <n>\n    <n> = <e>\n    return <e>",
            "def h():\n    <p>.append(<e>)\n    return <o>",
            "def h():\n    <n> = 7\n    return <n> + <o>",
            "<u>()",
            "k = lambda d=<v>: d + <e>",
            "k = <u>",
            "class Kind:\n    value = <v>\n    def get(self): return self.value + <e>",
            "Kind.value = <v>",
            "print(<v>)",
            "print(kept.bump())",
            "kept = Kept()",
            "<n> = kept.size()",
            "<v>",
            "import math as m",
            "total = <v> + <w>",
            "x = <n>\ndel x",
        ],
    )
)
ANSWER = "answer = [a, xs, zs, Kind(), f(), lambda: (f(), g(), h(), k(), b, ys, settings, kept.size())]"


def seen(text: str) -> dict[str, Any]:
    module = types.ModuleType("__main__")
    exec(compile(text, "cells", "exec"), module.__dict__)  # noqa: S102 - drawn above
    return module.__dict__


def found(names: dict[str, Any]) -> str:
    a, xs, zs, kind, f, late = names["answer"]
    return repr((a, xs, zs, f, kind.get(), late(), late(), xs))


@given(st.lists(STATEMENTS, max_size=14), st.lists(STATEMENTS, max_size=6))
def test_what_is_exported_gives_what_the_session_gave(before: list[str], after: list[str]) -> None:
    cells = [PREAMBLE, *before, ANSWER, *after]
    exported = export(cells, "answer").text
    assert found(seen(exported)) == found(seen("\n".join(cells)))
