"""Trees: what travels between owners and the centre, `dict[str, Array]`, and the few operations that the rest stands on.

A leaf is named by a string, such as "conv1.weight". At every seam (wire, disk, between executors) leaves are NumPy arrays,
bfloat16 through `ml_dtypes`; inside an executor they may be a framework's own, and what is written here with plain
operators runs on those too.

Floating leaves are quantities: they are subtracted, scaled and averaged. Any other leaf (BatchNorm's counter, a mask, a
random generator's state) is a fact: it travels as it is, and replaces what was there.

This file must not know what a tree means: parameters, gradients, control variates and statistics are all trees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hansa.errors import TreeMismatch, UnknownName

Array = np.ndarray[Any, np.dtype[Any]]
Tree = dict[str, Array]
"""Named arrays."""

ALIGNMENT = 64
"""Bytes. Vector kernels take another path, with other last bits, for memory that is aligned differently."""


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is a quantity (any float or complex type, bfloat16 and the 8-bit floats included)."""
    dtype = leaf.dtype
    name = str(getattr(dtype, "name", dtype))
    return "float" in name or "complex" in name


def check_alike(found: Mapping[str, Any], expected: Mapping[str, Any], *, where: str = "", hint: str = "") -> None:
    """Raise `TreeMismatch` unless `found` has the names, shapes and dtypes of `expected`."""
    if found.keys() != expected.keys():
        missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        raise TreeMismatch(
            f"leaves differ: missing {missing or 'none'}, unexpected {extra or 'none'}", where=where, hint=hint
        )
    for name, leaf in expected.items():
        for what in ("shape", "dtype"):
            have, want = getattr(found[name], what), getattr(leaf, what)
            if have != want:
                message = f"leaf {name!r} has {what} {have}, expected {want}"
                raise TreeMismatch(message, where=where, hint=hint)


def apply(function: Callable[..., Any], first: Mapping[str, Any], *rest: Mapping[str, Any]) -> Tree:
    """`function` of the leaves of the same name, leaf by leaf.

    Raises:
        TreeMismatch: the trees have different names.
    """
    for other in rest:
        if other.keys() != first.keys():
            names = sorted(first.keys() ^ other.keys())
            raise TreeMismatch(f"leaves that only one of two trees has: {', '.join(names)}")
    return {name: _as_array(function(leaf, *(other[name] for other in rest))) for name, leaf in first.items()}


def _as_array(leaf: Any) -> Any:
    """A leaf without an axis as the array that it was: NumPy's operators make a scalar of it."""
    return np.asarray(leaf) if isinstance(leaf, np.generic) else leaf


def add(a: Tree, b: Tree) -> Tree:
    """a + b."""
    return apply(lambda x, y: x + y, a, b)


def subtract(a: Tree, b: Tree) -> Tree:
    """a − b."""
    return apply(lambda x, y: x - y, a, b)


def scale(a: Tree, factor: float) -> Tree:
    """factor · a, in a's dtypes."""
    return as_types(apply(lambda x: x * factor, a), a)


def as_types(a: Tree, like: Tree) -> Tree:
    """`a` in the dtypes of `like`. NumPy widens a bfloat16 times a Python number to float32; frameworks' tensors stay."""
    return apply(lambda x, y: x.astype(y.dtype, copy=False) if isinstance(x, np.ndarray) else x, a, like)


def zeros_like(a: Tree) -> Tree:
    """Zeros of a's shapes and dtypes."""
    return apply(lambda x: np.zeros_like(x) if isinstance(x, np.ndarray) else x * 0, a)


def dot(a: Tree, b: Tree) -> float:
    """The inner product ⟨a, b⟩ over all floating leaves, accumulated in float64."""
    pairs = ((a[name], b[name]) for name in a if is_floating(a[name]))
    return math.fsum(float(np.vdot(_wide(x), _wide(y)).real) for x, y in pairs)


def norm(a: Tree) -> float:
    """The Euclidean norm ‖a‖ over all floating leaves."""
    return math.sqrt(dot(a, a))


def _wide(leaf: Array) -> Array:
    return leaf.astype(np.complex128 if leaf.dtype.kind == "c" else np.float64)


def difference(new: Tree, old: Tree) -> Tree:
    """What moves `old` to `new`: new − old where a leaf is floating, new itself where it is not."""
    return apply(lambda n, o: n - o if is_floating(n) else n, new, old)


def moved(old: Tree, change: Tree) -> Tree:
    """`old` moved by a `difference`: moved(old, difference(new, old)) is new, within rounding."""
    return apply(lambda o, c: o + c if is_floating(o) else c, old, change)


def nbytes(a: Mapping[str, Any]) -> int:
    """Bytes of all leaves together."""
    return sum(leaf.nbytes for leaf in a.values())


def not_finite(a: Tree) -> str | None:
    """The name of the first leaf that holds a NaN or an infinity; None where there is none."""
    with np.errstate(invalid="ignore", over="ignore"):  # a signalling NaN is one to find, not to warn of
        return next((name for name, leaf in a.items() if is_floating(leaf) and not _is_finite(leaf)), None)


def _is_finite(leaf: Array) -> bool:
    """Whether all of a leaf is. A sum of squares that is finite says so, at the cost of reading the leaf once."""
    if leaf.dtype.char in "fd" and leaf.flags.c_contiguous:
        flat = leaf.reshape(-1)
        if math.isfinite(np.dot(flat, flat)):
            return True
    return bool(np.isfinite(leaf).all())


def read_only(a: Tree) -> Tree:
    """Views of the same arrays that refuse to be written to: what is lent, such as a broadcast that several clients get."""
    views = {name: leaf.view() for name, leaf in a.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def aligned(a: Tree) -> Tree:
    """A copy whose leaves are contiguous, start at a multiple of 64 bytes, and are in this machine's byte order."""
    return {name: aligned_copy(leaf) for name, leaf in a.items()}


def aligned_copy(leaf: Array) -> Array:
    """A contiguous copy of one array that starts at a multiple of 64 bytes, in this machine's byte order."""
    dtype = leaf.dtype.newbyteorder("=")
    room = np.empty(leaf.size * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + leaf.size * dtype.itemsize].view(dtype).reshape(leaf.shape)
    copy[...] = leaf
    return copy


def join(parts: Mapping[str, Tree]) -> Tree:
    """One tree of several: leaf "w" of part "alice" becomes "alice/w". A "/" in a part's own name is escaped."""
    return {f"{_escaped(part)}/{name}": leaf for part, tree in parts.items() for name, leaf in tree.items()}


def part(joined: Tree, name: str) -> Tree:
    """The part of a joined tree; `part(join(parts), name) == parts[name]`.

    Raises:
        UnknownName: there is no leaf of that part.
    """
    prefix = _escaped(name) + "/"
    found = {leaf.removeprefix(prefix): value for leaf, value in joined.items() if leaf.startswith(prefix)}
    if not found:
        raise UnknownName.among("part", name, sorted({leaf.split("/")[0] for leaf in joined}))
    return found


def parts(joined: Tree) -> dict[str, Tree]:
    """All parts of a joined tree by name: the inverse of `join` where no part is empty."""
    split: dict[str, Tree] = {}
    for name, leaf in joined.items():
        prefix, _, rest = name.partition("/")
        split.setdefault(prefix.replace("%2F", "/").replace("%25", "%"), {})[rest] = leaf
    return split


def _escaped(part_name: str) -> str:
    return part_name.replace("%", "%25").replace("/", "%2F")
