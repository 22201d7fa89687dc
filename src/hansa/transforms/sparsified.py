"""Sparsified: only the largest numbers of each leaf travel, with their places.

S. U. Stich, J.-B. Cordonnier, M. Jaggi, Sparsified SGD with Memory, NeurIPS 2018, definition 2.1 (top-k). What does not travel
is lost unless it is kept for the next time: `Compressed(..., feedback=True)`, their algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hansa.core.keys import Key
from hansa.core.tree import Array, Tree, is_floating
from hansa.errors import ConfigError, TreeMismatch
from hansa.transforms.transform import named, outline

PLACES, VALUES = "#places", "#values"
"""A leaf "w" travels as "w#values", the numbers, and "w#places", where they stand in the flat leaf, in ascending order."""


@dataclass(frozen=True)
class Sparsified:
    """Send the share `fraction` of each float leaf's numbers, those farthest from 0, and at least one; the others become 0.

    Of equal ones the first are sent. A number costs four bytes more than it does dense (eight in a leaf of 2^32 or more), so
    that this pays below a half for float32.

    Attributes:
        fraction: in (0, 1].
    """

    fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"the fraction of numbers that are sent lies in (0, 1], not {self.fraction}")

    def encode(self, update: Tree, key: Key) -> Tree:  # noqa: ARG002 - a transform's signature
        """Two leaves for each float leaf."""
        return named(pair for name, leaf in update.items() for pair in self._encoded(name, leaf))

    def decode(self, encoded: Tree, form: Tree) -> Tree:
        """Zeros, but for what was sent.

        Raises:
            TreeMismatch: a number has no place in its leaf.
        """
        return {
            name: _dense(name, encoded[name + PLACES], encoded[name + VALUES], leaf)
            if is_floating(leaf)
            else encoded[name]
            for name, leaf in form.items()
        }

    def form(self, form: Tree) -> Tree:
        """Whole numbers, and as many of the leaf's own, for each float leaf."""
        return named(pair for name, leaf in form.items() for pair in self._outlined(name, leaf))

    def _outlined(self, name: str, leaf: Array) -> Iterator[tuple[str, Array]]:
        if not is_floating(leaf):
            yield name, leaf
            return
        yield name + PLACES, outline((self._kept(leaf),), _counting(leaf))
        yield name + VALUES, outline((self._kept(leaf),), leaf.dtype)

    def _encoded(self, name: str, leaf: Array) -> Iterator[tuple[str, Array]]:
        if not is_floating(leaf):
            yield name, leaf
            return
        flat = leaf.reshape(-1)
        places = _largest(flat, self._kept(leaf))
        yield name + PLACES, places.astype(_counting(leaf))
        yield name + VALUES, flat[places]

    def _kept(self, leaf: Array) -> int:
        return min(leaf.size, max(1, math.ceil(self.fraction * leaf.size)))


def _largest(flat: Array, count: int) -> Array:
    """Where the `count` numbers farthest from 0 stand, in ascending order; what is no number is farther than any."""
    size = abs(flat).astype(np.float64 if flat.dtype.itemsize > 4 else np.float32, copy=False)
    size = np.where(np.isnan(size), np.inf, size)
    if not count or count == size.size:
        return np.arange(count)
    # The least value that is sent is the same on every machine; which of several equal ones a partition finds is not.
    least = np.partition(size, size.size - count)[size.size - count]
    above, equal = np.flatnonzero(size > least), np.flatnonzero(size == least)
    return np.sort(np.concatenate([above, equal[: count - above.size]]))


def _counting(leaf: Array) -> np.dtype[np.generic]:
    return np.dtype(np.uint32 if leaf.size < 2**32 else np.uint64)


def _dense(name: str, places: Array, values: Array, like: Array) -> Array:
    if places.size and int(places.max()) >= like.size:
        raise TreeMismatch(f"leaf {name!r} has {like.size} numbers, and one was sent for place {int(places.max())}")
    dense = np.zeros(like.size, like.dtype)
    dense[places] = values
    return dense.reshape(like.shape)
