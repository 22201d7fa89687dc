"""What the kits share: stating a law, and comparing trees down to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hansa.core.tree import Array, Tree


def require(holds: bool, law: str, found: str = "") -> None:
    """Raise an AssertionError that states the law and what was found instead, unless it holds."""
    if not holds:
        raise AssertionError(f"broken law: {law}" + (f"; {found}" if found else ""))


def snapshot(tree: Mapping[str, Any]) -> Tree:
    """A copy that later changes to `tree` do not reach; NumPy arrays."""
    return {name: np.array(leaf) for name, leaf in tree.items()}


def unlike_bits(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The first difference between two trees in names, kind of array, dtype, shape or bits; "" where there is none."""
    if found.keys() != expected.keys():
        return f"leaves {sorted(found)} instead of {sorted(expected)}"
    return next(
        (f"leaf {name!r} {what}" for name in expected if (what := _unlike(found[name], expected[name]))),
        "",
    )


def unlike_form(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The first difference between two trees in names, kind of array, dtype or shape; "" where there is none."""
    if found.keys() != expected.keys():
        return f"leaves {sorted(found)} instead of {sorted(expected)}"
    return next(
        (f"leaf {name!r} {what}" for name in expected if (what := _unlike_form(found[name], expected[name]))),
        "",
    )


def _unlike_form(found: Any, expected: Array) -> str:
    if not isinstance(found, np.ndarray):
        return f"is a {type(found).__name__}, no array"
    if found.dtype != expected.dtype:
        return f"has dtype {found.dtype} instead of {expected.dtype}"
    if found.shape != expected.shape:
        return f"has shape {found.shape} instead of {expected.shape}"
    return ""


def _unlike(found: Any, expected: Array) -> str:
    if what := _unlike_form(found, expected):
        return what
    if found.tobytes() == expected.tobytes():
        return ""
    return f"has other bits: {_shown(found)} instead of {_shown(expected)}"


def _shown(leaf: Array) -> str:
    return np.array2string(leaf.reshape(-1), precision=17, threshold=6, edgeitems=3)
