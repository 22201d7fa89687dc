"""Quantised: numbers travel as places between the smallest and the largest of their leaf, in a few bits each.

D. Alistarh, D. Grubic, J. Li, R. Tomioka, M. Vojnović, QSGD: Communication-Efficient SGD via Gradient Quantization and
Encoding, NeurIPS 2017, section 3: stochastic rounding to the two neighbouring levels, so that the expectation is the number
itself. The levels are spread evenly over [min, max] of a leaf, and not over its norm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hansa.core.keys import Key
from hansa.core.tree import Array, Tree, is_floating
from hansa.errors import ConfigError
from hansa.transforms.transform import named, outline

LEVELS, SPAN = "#levels", "#span"
"""A leaf "w" travels as "w#levels", whole numbers, and "w#span": what level 0 stands for, and one level more."""

_SLAB = 1 << 19
"""Levels that are packed at a time; eight of them fill whole bytes, whatever the bits."""


@dataclass(frozen=True)
class Quantised:
    """Send each float as one of 2^bits levels between the smallest and the largest of its leaf.

    With s = (max − min) / (2^bits − 1), an error of less than s for each number, and no error in expectation; or without
    `stochastic` at most s/2, and always to the same side. Floats of more than 32 bits keep a span in 64, others in 32.

    Attributes:
        bits: for each number, 1 to 8.
        stochastic: round up or down at random, unbiased; otherwise to the nearest level.
    """

    bits: int = 8
    stochastic: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ConfigError(f"a number is quantised to 1 to 8 bits, not {self.bits}")

    def encode(self, update: Tree, key: Key) -> Tree:
        """Two leaves for each float leaf."""
        return named(pair for name, leaf in update.items() for pair in self._encoded(name, leaf, key.child(name)))

    def decode(self, encoded: Tree, form: Tree) -> Tree:
        """min + level · s."""
        return {
            name: self._decoded(encoded[name + LEVELS], encoded[name + SPAN], leaf)
            if is_floating(leaf)
            else encoded[name]
            for name, leaf in form.items()
        }

    def form(self, form: Tree) -> Tree:
        """Bytes, and two floats, for each float leaf."""
        return named(pair for name, leaf in form.items() for pair in self._outlined(name, leaf))

    def _outlined(self, name: str, leaf: Array) -> Iterator[tuple[str, Array]]:
        if not is_floating(leaf):
            yield name, leaf
            return
        yield name + LEVELS, outline((-(-_numbers(leaf) * self.bits // 8),), np.uint8)
        yield name + SPAN, outline((2,), _arithmetic(leaf))

    def _encoded(self, name: str, leaf: Array, key: Key) -> Iterator[tuple[str, Array]]:
        if not is_floating(leaf):
            yield name, leaf
            return
        values = _reals(leaf)
        low, high = (values.min(), values.max()) if values.size else (values.dtype.type(0),) * 2
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite, the update gate is to see in the span
            span = np.array([low, high / self._highest - low / self._highest], values.dtype)
        levels = np.zeros(values.size, np.uint8)
        if np.isfinite(span).all() and span[1] > 0:
            levels = self._levels((values - span[0]) / span[1], key)
        yield name + LEVELS, _packed(levels, self.bits)
        yield name + SPAN, span

    def _levels(self, places: Array, key: Key) -> Array:
        """The levels of numbers in units of a level."""
        below = np.floor(places)
        threshold = key.generator().random(places.size, np.float32) if self.stochastic else 0.5
        above = (places - below > threshold) if self.stochastic else (places - below >= threshold)
        levels: Array = np.clip(below + above, 0, self._highest).astype(np.uint8)
        return levels

    def _decoded(self, levels: Array, span: Array, like: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # a sender may have said any span
            values: Array = span[0] + _unpacked(levels, self.bits, _numbers(like)) * span[1]
            if like.dtype.kind == "c":
                values = values.view(f"c{2 * values.itemsize}")
            return values.astype(like.dtype, copy=False).reshape(like.shape)

    @property
    def _highest(self) -> int:
        return (1 << self.bits) - 1


def _numbers(leaf: Array) -> int:
    """Real numbers in a leaf."""
    return leaf.size * (2 if leaf.dtype.kind == "c" else 1)


def _arithmetic(leaf: Array) -> np.dtype[np.generic]:
    """In which dtype a leaf's numbers are reckoned with."""
    wide = leaf.dtype.itemsize > (8 if leaf.dtype.kind == "c" else 4)
    return np.dtype(np.float64 if wide else np.float32)


def _reals(leaf: Array) -> Array:
    """A leaf as flat real numbers of its arithmetic."""
    flat = np.ascontiguousarray(leaf).reshape(-1)
    return (flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat).astype(_arithmetic(leaf), copy=False)


def _packed(levels: Array, bits: int) -> Array:
    """Levels one after the other, `bits` each, the highest bit first; the last byte is filled with zeros."""
    if bits == 8:
        return levels
    slabs = (levels[at : at + _SLAB, None] for at in range(0, levels.size, _SLAB))
    packed = [np.packbits(np.unpackbits(slab, axis=1)[:, 8 - bits :]) for slab in slabs]
    return np.concatenate(packed) if packed else levels


def _unpacked(packed: Array, bits: int, count: int) -> Array:
    """So many levels that `_packed` made bytes of."""
    if bits == 8:
        return packed
    levels = np.empty(count, np.uint8)
    for at in range(0, count, _SLAB):
        some = min(_SLAB, count - at)
        each = np.unpackbits(packed[at * bits // 8 :], count=some * bits).reshape(some, bits)
        levels[at : at + some] = np.packbits(np.pad(each, ((0, 0), (8 - bits, 0))), axis=1)[:, 0]
    return levels
