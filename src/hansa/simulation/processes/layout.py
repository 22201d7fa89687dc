"""Trees in one piece of memory: where each leaf lies, as a list that JSON carries, and views of the leaves there.

Leaves start at multiples of 64 bytes, as everything does that reference mode computes with. This file must not know what memory
it is, or who else sees it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from hansa.core.tree import ALIGNMENT, Array, Tree
from hansa.errors import InputError

Place = list[Any]
"""[name, dtype, shape, offset in bytes, whether one value stands for all of them]."""


@dataclass(frozen=True)
class Laid:
    """Where trees lie.

    Attributes:
        places: of each tree, for each leaf its place.
        size: bytes in all.
    """

    places: list[list[Place]]
    size: int


def laid(trees: Sequence[Tree]) -> Laid:
    """Where the leaves of some trees go.

    Raises:
        InputError: an array holds Python objects or records.
    """
    places: list[list[Place]] = []
    end = 0
    for tree in trees:
        places.append([])
        for name, leaf in tree.items():
            start = aligned(end)
            places[-1].append([name, _written(name, leaf.dtype), list(leaf.shape), start, _is_constant(leaf)])
            end = start + (leaf.itemsize if _is_constant(leaf) else leaf.nbytes)
    return Laid(places, end)


def fill(memory: memoryview, where: Laid, trees: Sequence[Tree]) -> None:
    """Copy the leaves to their places."""
    for places, tree in zip(where.places, trees, strict=True):
        for (name, _, shape, offset, constant), leaf in zip(places, tree.values(), strict=True):
            del name
            if constant:
                np.ndarray((), leaf.dtype, memory, offset)[...] = leaf[(0,) * leaf.ndim]
            elif leaf.size:
                np.ndarray(shape, leaf.dtype, memory, offset)[...] = leaf


def views(memory: memoryview, places: Sequence[Sequence[Place]]) -> list[Tree]:
    """The trees, as views of memory that is kept for as long as one of them is; writable where it is."""
    return [
        {
            name: _view(memory, _read(dtype), tuple(shape), offset, constant)
            for name, dtype, shape, offset, constant in each
        }
        for each in places
    ]


def aligned(offset: int) -> int:
    """The next multiple of 64."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _view(memory: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, constant: bool) -> Array:
    if not math.prod(shape):
        return np.empty(shape, dtype)
    if constant:
        return np.broadcast_to(np.ndarray((), dtype, memory, offset), shape)
    return np.ndarray(shape, dtype, memory, offset)


def _is_constant(leaf: Array) -> bool:
    """Whether a leaf is one value, broadcast: what a rule keeps to know the form of updates."""
    return leaf.size > 1 and not any(leaf.strides)


def _written(name: str, dtype: np.dtype[Any]) -> str:
    if dtype.hasobject or dtype.names is not None:
        raise InputError(f"an array of dtype {dtype} cannot be shared with a worker", where=f"array {name!r}")
    return dtype.name if dtype.isbuiltin == 2 else dtype.str  # 2: one that NumPy learnt of from ml_dtypes


def _read(written: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, written, written))
