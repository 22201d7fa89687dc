"""Shapes of code that notebooks are made of: what of each is exported, as typed, and that it gives the same by itself."""

from __future__ import annotations

import types
from typing import Any

import pytest

from hansa.experiment.notebook import export


def ran(*texts: str) -> dict[str, Any]:
    """The names after texts have run one after the other, as a notebook runs its cells."""
    module = types.ModuleType("__main__")
    for number, text in enumerate(texts, start=1):
        exec(compile(text, f"cell {number}", "exec"), module.__dict__)  # noqa: S102 - our own cells
    return module.__dict__


def exported(*cells: str) -> str:
    """The code of an export, without the line that says where it is from and the one that gives it its name."""
    head, _, code = export(cells, "answer").text.partition("\n")
    assert head.startswith('"""An experiment, as it was typed')
    assert code.endswith("\n\nexperiment = answer\n")
    return code.removesuffix("\n\nexperiment = answer\n").strip("\n")


def taken_apart(shape: str) -> tuple[list[str], str]:
    """Cells, and what is exported of them."""
    cells, expected = shape.strip("\n").split("\n===\n")
    return cells.split("\n---\n"), expected


SHAPES = {
    "the last of several definitions": r"""
x = 1
---
x = 2
---
answer = x
===
x = 2

answer = x
""",
    "what nothing needs stays out": r"""
import json, math
unused = math.pi
x = 1
x
print(x)
answer = x + 1
answer
===
x = 1

answer = x + 1
""",
    "comments and docstrings stay": r'''
# over it
# in two lines
rate = 0.1  # behind it

# alone

def f():
    """Says."""
    return rate  # in it
---
answer = f()
===
# over it
# in two lines
rate = 0.1  # behind it


def f():
    """Says."""
    return rate  # in it


answer = f()
''',
    "unicode and f-strings": r"""
größe = 3
def f(): return f'{größe!r:>{größe}} é 字'
---
answer = f()
===
größe = 3


def f(): return f'{größe!r:>{größe}} é 字'


answer = f()
""",
    "several statements on a line": r"""
größe = 1; print(größe); b = größe + 1;  # both
answer = (größe, b);
===
größe = 1
b = größe + 1  # both
answer = (größe, b)
""",
    "a string that looks like a notebook": r'''
text = """
# no comment
!ls
%magic
"""
# real
answer = text  # tail
===
text = """
# no comment
!ls
%magic
"""
# real
answer = text  # tail
''',
    "own decorators, stacked, with arguments": r"""
import functools
SCALE = 3
---
def scaled(f):
    @functools.wraps(f)
    def inner(*a): return f(*a) * SCALE
    return inner
---
def plus(n):
    def wrap(f): return lambda: f() + n
    return wrap
---
@scaled
@plus(SCALE)
def f(): return 1
---
answer = f()
===
import functools
SCALE = 3


def scaled(f):
    @functools.wraps(f)
    def inner(*a): return f(*a) * SCALE
    return inner


def plus(n):
    def wrap(f): return lambda: f() + n
    return wrap


@scaled
@plus(SCALE)
def f(): return 1


answer = f()
""",
    "a closure over constants": r"""
A = 2
B = 3
C = 4
---
def outer(n):
    def inner(): return n * A
    return inner
---
answer = outer(B)()
===
A = 2
B = 3


def outer(n):
    def inner(): return n * A
    return inner


answer = outer(B)()
""",
    "nested classes and inheritance across cells": r"""
class Base:
    size = 2
---
class Net(Base):
    class Inner(Base):
        def get(self): return self.size + EXTRA
---
EXTRA = 1
---
answer = Net.Inner().get()
===
class Base:
    size = 2


class Net(Base):
    class Inner(Base):
        def get(self): return self.size + EXTRA


EXTRA = 1

answer = Net.Inner().get()
""",
    "a dataclass": r"""
from dataclasses import dataclass, field, replace
---
@dataclass(frozen=True)
class P:
    a: int = 1
    b: list = field(default_factory=list)
---
answer = repr(P())
===
from dataclasses import dataclass, field


@dataclass(frozen=True)
class P:
    a: int = 1
    b: list = field(default_factory=list)


answer = repr(P())
""",
    "static methods, class methods and properties": r"""
ONE = 1
class A:
    @staticmethod
    def s(): return ONE
    @classmethod
    def c(cls): return cls.s()
    @property
    def p(self): return two()
---
def two(): return 2
---
answer = (A.c(), A().p)
===
ONE = 1


class A:
    @staticmethod
    def s(): return ONE
    @classmethod
    def c(cls): return cls.s()
    @property
    def p(self): return two()


def two(): return 2


answer = (A.c(), A().p)
""",
    "a function that calls one of a later cell": r"""
def f(): return g()
---
def g(): return 7
---
answer = f()
===
def f(): return g()


def g(): return 7


answer = f()
""",
    "recursion": r"""
def f(n): return 1 if n < 2 else n * f(n - 1)
---
answer = f(4)
===
def f(n): return 1 if n < 2 else n * f(n - 1)


answer = f(4)
""",
    "mutual recursion": r"""
def even(n): return n == 0 or odd(n - 1)
---
def odd(n): return n != 0 and even(n - 1)
---
answer = even(4)
===
def even(n): return n == 0 or odd(n - 1)


def odd(n): return n != 0 and even(n - 1)


answer = even(4)
""",
    "default arguments": r"""
A = 1
B = 2
C = 3
---
def f(a=A, *, b=B): return a + b
---
A = 5
---
answer = f()
===
A = 1
B = 2


def f(a=A, *, b=B): return a + b


answer = f()
""",
    "lambdas": r"""
k = 2
unused = 1
---
double = lambda x, by=k: x * by + late
---
late = 1
---
answer = double(4)
===
k = 2

double = lambda x, by=k: x * by + late

late = 1

answer = double(4)
""",
    "comprehensions": r"""
N = 3
n = 100
x = 5
---
squares = {n: [x * n for x in range(N)] for n in range(N) if n}
---
lazy = (k + x for k in range(2))
---
answer = (squares, list(lazy))
===
N = 3

x = 5

squares = {n: [x * n for x in range(N)] for n in range(N) if n}

lazy = (k + x for k in range(2))

answer = (squares, list(lazy))
""",
    "a conditional import": r"""
import sys, os
---
if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None
---
answer = tomllib.loads('a = 1')
===
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

answer = tomllib.loads('a = 1')
""",
    "an import that may fail": r"""
fast = 'before'
---
try:
    from nothing_like_it import fast
except ImportError:
    fast = None
---
answer = fast
===
try:
    from nothing_like_it import fast
except ImportError:
    fast = None

answer = fast
""",
    "a device that is there or not": r"""
here = False
device = 'cpu'
if here:
    device = 'cuda'
---
answer = device
===
here = False
device = 'cpu'
if here:
    device = 'cuda'

answer = device
""",
    "a loop that fills a list": r"""
sizes = [4, 3, 2]
layers = []
for i, size in enumerate(sizes):
    layers.append((i, size))
for layer in layers:
    print(layer)
---
answer = layers
===
sizes = [4, 3, 2]
layers = []
for i, size in enumerate(sizes):
    layers.append((i, size))

answer = layers
""",
    "a loop that changes what it finds": r"""
parts = [{'a': 1}, {'a': 2}]
---
for part in parts:
    part['a'] += 1
---
answer = parts
===
parts = [{'a': 1}, {'a': 2}]

for part in parts:
    part['a'] += 1

answer = parts
""",
    "a with block": r"""
from contextlib import suppress, nullcontext
with suppress(ValueError), nullcontext(3) as n:
    m = n + 1
---
answer = (n, m)
===
from contextlib import suppress, nullcontext
with suppress(ValueError), nullcontext(3) as n:
    m = n + 1

answer = (n, m)
""",
    "a while loop": r"""
n = 0
while n < 3:
    n += 1
else:
    done = True
---
answer = (n, done)
===
n = 0
while n < 3:
    n += 1
else:
    done = True

answer = (n, done)
""",
    "a function that is redefined": r"""
def f(): return 1
---
def f(): return 2
---
answer = f()
===
def f(): return 2


answer = f()
""",
    "a function that is redefined after its first use": r"""
def f(): return 1
---
early = f()
---
def f(): return 2
---
answer = (early, f())
===
def f(): return 1


early = f()


def f(): return 2


answer = (early, f())
""",
    "a redefinition that only functions see": r"""
def f(): return 1
def g(): return f()
---
early = g()
---
def f(): return 2
---
answer = (early, g())
===
def f(): return 1


def g(): return f()


early = g()


def f(): return 2


answer = (early, g())
""",
    "a redefinition that comes too late": r"""
rate = 0.1
---
answer = rate * 2
---
rate = 0.5
===
rate = 0.1

answer = rate * 2
""",
    "a cell that was run twice": r"""
rate = 0.1
def f(): return rate
---
pair = (rate, f())
---
rate = 0.1
def f(): return rate
---
answer = (rate, pair, f())
===
rate = 0.1


def f(): return rate


pair = (rate, f())

answer = (rate, pair, f())
""",
    "a cell that changed something twice": r"""
x = [0]
---
x.append(len(x))
---
x.append(len(x))
---
answer = x
===
x = [0]

x.append(len(x))

x.append(len(x))

answer = x
""",
    "augmented assignment": r"""
a = 1
b = [1]
other = b
---
a += 1
b += [2]
a -= 0
---
answer = (a, other)
===
a = 1
b = [1]
other = b

a += 1
b += [2]
a -= 0

answer = (a, other)
""",
    "changes in place": r"""
settings = {'lr': 1, 'deep': {}}
---
settings['lr'] = 0.1
settings['deep']['a'] = 1
del settings['deep']['a']
settings.get('lr')
print(settings)
---
answer = settings
---
settings.update(late=1)
===
settings = {'lr': 1, 'deep': {}}

settings['lr'] = 0.1
settings['deep']['a'] = 1
del settings['deep']['a']

answer = settings

settings.update(late=1)
""",
    "changes through another name": r"""
whole = {'part': []}
part = whole['part']
---
part.append(1)
---
answer = whole
===
whole = {'part': []}
part = whole['part']

part.append(1)

answer = whole
""",
    "changes by a function of the notebook": r"""
def slow(cfg): cfg['lr'] = 0.1
def show(cfg):
    text = str(cfg)
    print(text)
---
cfg = {}
slow(cfg)
show(cfg)
---
answer = cfg
===
def slow(cfg): cfg['lr'] = 0.1


cfg = {}
slow(cfg)

answer = cfg
""",
    "changes by a function, through another": r"""
def inner(cfg):
    for part in cfg:
        part.append(1)
def outer(cfg): inner(cfg)
---
cfg = [[]]
outer(cfg)
---
answer = cfg
===
def inner(cfg):
    for part in cfg:
        part.append(1)


def outer(cfg): inner(cfg)


cfg = [[]]
outer(cfg)

answer = cfg
""",
    "a method put into a class": r"""
class A:
    def f(self): return 1
---
def better(self): return 2
A.f = better
---
answer = A().f()
===
class A:
    def f(self): return 1


def better(self): return 2


A.f = better

answer = A().f()
""",
    "a registry filled by decorators": r"""
FOUND = {}
def register(f):
    FOUND[f.__name__] = f
    return f
---
@register
def one(): return 1
---
@register
def two(): return 2
def three(): return 3
---
answer = {name: f() for name, f in FOUND.items()}
===
FOUND = {}


def register(f):
    FOUND[f.__name__] = f
    return f


@register
def one(): return 1


@register
def two(): return 2


answer = {name: f() for name, f in FOUND.items()}
""",
    "a registry filled by subclasses": r"""
FOUND = []
class Base:
    def __init_subclass__(cls): FOUND.append(cls.__name__)
---
class A(Base): pass
class B: pass
---
answer = FOUND
===
FOUND = []


class Base:
    def __init_subclass__(cls): FOUND.append(cls.__name__)


class A(Base): pass


answer = FOUND
""",
    "global in a function": r"""
count = 0
def bump():
    global count, made
    count += 1
    made = True
---
bump()
bump()
---
answer = (count, made)
===
count = 0


def bump():
    global count, made
    count += 1
    made = True


bump()
bump()

answer = (count, made)
""",
    "tuples taken apart": r"""
a, *b = [1, 2, 3]
c = d = 4
(e, [f, g]), h = (1, [2, 3]), 3
z, y = 1, 2
---
answer = (a, b, c, d, f, h)
===
a, *b = [1, 2, 3]
c = d = 4
(e, [f, g]), h = (1, [2, 3]), 3

answer = (a, b, c, d, f, h)
""",
    "walrus": r"""
n = 1
if (n := 10) > 5:
    m = n
else:
    m = 0
total = sum(last := k for k in range(3))
---
answer = (n, m, last)
===
if (n := 10) > 5:
    m = n
else:
    m = 0
total = sum(last := k for k in range(3))

answer = (n, m, last)
""",
    "hints that are text": r"""
class A:
    def f(self, x: 'B | None') -> 'list[Missing]': return []
---
class B: pass
---
answer = A().f(None)
===
class A:
    def f(self, x: 'B | None') -> 'list[Missing]': return []


class B: pass


answer = A().f(None)
""",
    "annotations for later": r"""
from __future__ import annotations
import math
---
class A:
    x: B
    def f(self) -> Missing: return 1
---
class B: pass
---
answer = A().f()
===
from __future__ import annotations


class A:
    x: B
    def f(self) -> Missing: return 1


class B: pass


answer = A().f()
""",
    "aliases of types": r"""
from typing import TypeAlias, Any
Pair: TypeAlias = 'tuple[int, int]'
Map = dict[str, Any]
---
def f(p: Pair) -> Map: return {}
---
answer = f((1, 2))
===
from typing import TypeAlias, Any
Pair: TypeAlias = 'tuple[int, int]'
Map = dict[str, Any]


def f(p: Pair) -> Map: return {}


answer = f((1, 2))
""",
    "generators and async functions": r"""
import asyncio
N = 3
def gen():
    yield from range(N)
async def one(): return await other()
async def other(): return 1
async def agen():
    async for x in agen(): yield x
---
answer = (list(gen()), asyncio.iscoroutinefunction(one))
===
import asyncio
N = 3


def gen():
    yield from range(N)


async def one(): return await other()


async def other(): return 1


answer = (list(gen()), asyncio.iscoroutinefunction(one))
""",
    "enums and named tuples": r"""
import enum
from typing import NamedTuple
---
class Kind(enum.Enum):
    A = 1
class Row(NamedTuple):
    kind: Kind = Kind.A
---
answer = repr(Row())
===
import enum
from typing import NamedTuple


class Kind(enum.Enum):
    A = 1


class Row(NamedTuple):
    kind: Kind = Kind.A


answer = repr(Row())
""",
    "match": r"""
kind = 'old'
shape = {'k': [1, 2], 'z': 0}
match shape:
    case {'k': [first, *others], **rest} if first:
        kind = 'found'
    case _:
        kind = 'no'
---
answer = (kind, first, others, rest)
===
shape = {'k': [1, 2], 'z': 0}
match shape:
    case {'k': [first, *others], **rest} if first:
        kind = 'found'
    case _:
        kind = 'no'

answer = (kind, first, others, rest)
""",
    "a name that was deleted and made again": r"""
x = 1
del x
---
x = 2
---
answer = x
===
x = 2

answer = x
""",
    "names that parameters and locals cover": r"""
a = boom = 1
b = 2
---
def f(a, *args, **boom):
    b = a
    import json
    def inner(): return (a, b, boom, args, json.dumps(a))
    return inner()
---
answer = f(3)
===
def f(a, *args, **boom):
    b = a
    import json
    def inner(): return (a, b, boom, args, json.dumps(a))
    return inner()


answer = f(3)
""",
    "names that cover Python's own": r"""
max = 3
sum = 5
---
def f(min): return min + max
---
answer = f(1)
===
max = 3


def f(min): return min + max


answer = f(1)
""",
    "names of a class that its methods do not see": r"""
rate = 1
class A:
    rate = rate + 1
    twice = [rate] * 2
    def f(self): return rate
---
answer = (A.rate, A.twice, A().f())
===
rate = 1


class A:
    rate = rate + 1
    twice = [rate] * 2
    def f(self): return rate


answer = (A.rate, A.twice, A().f())
""",
    "imports, reduced": r"""
# what we need
import os.path, json as j, math as m  # all
from collections import (
    OrderedDict,
    deque as dq,
)
import xml.dom, xml.sax
import xml.etree.ElementTree
---
answer = (os.sep, j.dumps(1), list(dq([1])), xml.dom.Node.ELEMENT_NODE)
===
# what we need
import os.path, json as j
from collections import deque as dq
import xml.dom

answer = (os.sep, j.dumps(1), list(dq([1])), xml.dom.Node.ELEMENT_NODE)
""",
    "imports in several cells": r"""
import math
---
import xml
---
import xml.dom
import math
---
answer = (xml.dom.Node.TEXT_NODE, math.pi)
===
import math

import xml

import xml.dom

answer = (xml.dom.Node.TEXT_NODE, math.pi)
""",
    "a seed, and what it decides": r"""
import random, math
random.seed(3)
math.floor(2.5)
order = [1, 2, 3, 4, 5]
random.shuffle(order)
---
answer = order
===
import random
random.seed(3)

order = [1, 2, 3, 4, 5]
random.shuffle(order)

answer = order
""",
    "an object that its own method changes": r"""
class Words:
    def __init__(self): self.known = {}
    def number(self, word):
        self.known.setdefault(word, len(self.known))
        return self.known[word]
    def size(self): return len(self.known)
words = Words()
---
first = words.number("a")
how_many = words.size()
---
answer = words.size()
===
class Words:
    def __init__(self): self.known = {}
    def number(self, word):
        self.known.setdefault(word, len(self.known))
        return self.known[word]
    def size(self): return len(self.known)


words = Words()

first = words.number("a")

answer = words.size()
""",
    "a function under another name": r"""
seen = []
def note(): seen.append(1)
again = note
---
x = again()
y = len(seen)
---
answer = seen
===
seen = []


def note(): seen.append(1)


again = note

x = again()

answer = seen
""",
    "a task of Hansa's": r'''
import hansa.training.tasks.task as tasks, math
RATE = 2
---
@tasks.task(train=True)
def train(model, loader, *, rate: float = RATE):
    """Train."""
    return {"loss": math.pi * rate}
---
answer = train.name if hasattr(train, "name") else "train"
===
import hansa.training.tasks.task as tasks, math
RATE = 2


@tasks.task(train=True)
def train(model, loader, *, rate: float = RATE):
    """Train."""
    return {"loss": math.pi * rate}


answer = train.name if hasattr(train, "name") else "train"
''',
    "a seed that has a name": r"""
import random
SEED = 3
random.seed(SEED)
---
import random as other
---
answer = other.random()
===
import random
SEED = 3
random.seed(SEED)

import random as other

answer = other.random()
""",
    "what only belongs here": r"""
x = [1]
if __name__ == '__main__':
    x.append(2)
    print(x)
---
answer = len(x) * 0
===
x = [1]

answer = len(x) * 0
""",
    "a function that would read at an owner": r"""
def words(path):
    with open(path) as file: return file.read()
---
answer = [words].count(words)
===
def words(path):
    with open(path) as file: return file.read()


answer = [words].count(words)
""",
    "a branch that raises binds nothing": r"""
k = 3
x = 'old'
---
if k > 2:
    x = 'big'
else:
    raise ValueError(k)
---
answer = x
===
k = 3

if k > 2:
    x = 'big'
else:
    raise ValueError(k)

answer = x
""",
}
"""Cells, with lines of dashes between them, and below "===" what is exported."""


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_needed_is_exported_as_typed_and_gives_the_same(shape: str) -> None:
    cells, expected = taken_apart(SHAPES[shape])
    assert exported(*cells) == expected
    alone = ran(export(cells, "answer").text)
    assert repr(alone["answer"]) == repr(ran(*cells)["answer"])
    assert alone["experiment"] is alone["answer"]


NOT_PYTHON = {
    "magics and shell lines": r"""
%matplotlib inline
%load_ext autoreload
!pip install x \
    y
x = 1
?x
x?
x.real??
pip install y
---
answer = x
===
x = 1

answer = x
""",
    "magics in blocks": r"""
for i in range(2):
    !echo {i}
    x = i
if x:
    %who
---
answer = x
===
for i in range(2):
    pass  # !echo {i}
    x = i

answer = x
""",
    "other languages": r"""
%%bash
x = 1
ls
---
%%html
<b>
---
%%timeit
x = 2
---
x = 3
---
answer = x
===
x = 3

answer = x
""",
    "cells that never ran": r"""
x = 1
this is no Python
---
x = 3
---
answer = x
===
x = 3

answer = x
""",
    "markers of other editors": r"""
# %% first
x = 1
---
answer = x
===
x = 1

answer = x
""",
    "a percent sign in a sum of lines": r"""
x = (7
% 4)
%time z = 1
---
answer = x
===
x = (7
% 4)

answer = x
""",
    "cells that time": r"""
%%time
x = 1
---

%%capture out
%%time
%time y = x + 1
---
answer = y
===
x = 1

y = x + 1

answer = y
""",
}


@pytest.mark.parametrize("shape", NOT_PYTHON)
def test_what_is_no_python_stays_behind(shape: str) -> None:
    cells, expected = taken_apart(NOT_PYTHON[shape])
    assert exported(*cells) == expected
    assert "answer" in ran(export(cells, "answer").text)


def test_the_line_breaks_of_another_system_are_ours() -> None:
    assert exported("x = 1\r\ny = 2\r\n", "answer = x") == "x = 1\n\nanswer = x"
