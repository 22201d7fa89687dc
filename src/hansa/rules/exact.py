"""Sums of arrays whose bits do not depend on the order of the terms, nor on how they are split into partial sums.

A coordinate's sum is kept as an expansion: float64 components c0 + c1 + ... whose exact sum is the exact sum of all terms so
far. A new term goes through the components by Knuth's error-free TwoSum; what one cannot hold falls through to the next, and
where the last one rounds too, another component is added. Two components (double-double) are enough unless the terms of one
coordinate span more than about 2^50; a third is then there before anything is lost. So no order of arrival can change the
exact value, and `total` rounds that value once, to the nearest float64.

Work goes through in blocks that stay in the processor's cache, which makes it cost about as much as a naive `a += x * w`
(`python -m benchmarks sums`).

Sources: D. E. Knuth, The Art of Computer Programming 2, section 4.2.2, theorem B (TwoSum); J. R. Shewchuk, Adaptive
Precision Floating-Point Arithmetic, 1997, section 2.4 (Grow-Expansion).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hansa.core.tree import Array
from hansa.errors import AggregationError

BLOCK = 32768
"""Coordinates per block. The five arrays at work (two components, three scratch) take 640 KiB: a second-level cache."""

Flat = np.ndarray[Any, np.dtype[np.float64]]


class ExactSum:
    """The running sum of weighted arrays of one size, exact.

    The terms are weight·value rounded to float64, which is exact for float32 and narrower values with a weight of up to
    29 significant bits (any number of examples up to 5·10^8), and otherwise the same for every order.

    Attributes:
        size: the number of coordinates.
        blocks: for each block of coordinates its components, the most significant first.
    """

    __slots__ = ("blocks", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.blocks: list[list[Flat]] = [[np.zeros(min(BLOCK, size - at))] for at in range(0, size, BLOCK)]

    def parts(self) -> dict[str, Any]:
        """What there is of it, to be put together elsewhere."""
        return {"size": self.size, "blocks": self.blocks}

    @classmethod
    def of_parts(cls, size: int, blocks: list[list[Flat]]) -> ExactSum:
        """The sum that `parts` told of; it goes on in these very blocks."""
        made = cls(0)
        made.size, made.blocks = size, blocks
        return made

    def add(self, values: Array, weight: float = 1.0) -> None:
        """Add weight·values; `values` has shape (size,) and any real dtype.

        Raises:
            AggregationError: the sum of the terms so far leaves the range of float64, about ±1.8·10^308.
        """
        scratch = _Scratch(min(BLOCK, self.size))
        # Overflow is found where a term is left over; NumPy's own warning would only name an operator.
        with np.errstate(over="ignore", invalid="ignore"):
            for number, components in enumerate(self.blocks):
                _absorb(components, values[number * BLOCK : (number + 1) * BLOCK], weight, scratch)

    def merge(self, other: ExactSum) -> None:
        """Add another sum, exactly."""
        scratch = _Scratch(min(BLOCK, self.size))
        with np.errstate(over="ignore", invalid="ignore"):
            for mine, theirs in zip(self.blocks, other.blocks, strict=True):
                for component in theirs:
                    _absorb(mine, component, 1.0, scratch)

    def total(self) -> Flat:
        """The exact sum rounded once, to the nearest float64 (ties to even), shape (size,)."""
        return np.concatenate([_rounded(components) for components in self.blocks] or [np.zeros(0)])


class _Scratch:
    """Three blocks of memory to work in. `spare` is swapped for a component at every step, which saves a copy."""

    __slots__ = ("part", "spare", "term")

    def __init__(self, size: int) -> None:
        self.term, self.spare, self.part = np.empty(size), np.empty(size), np.empty(size)


def _absorb(components: list[Flat], values: Array, weight: float, scratch: _Scratch) -> None:
    """Let weight·values fall through the components; what the last one cannot hold opens another."""
    if len(values) != len(scratch.term):
        scratch = _Scratch(len(values))
    term = scratch.term
    term[...] = values
    term *= weight
    last = len(components) - 1
    for index, component in enumerate(components):
        total = np.add(component, term, out=scratch.spare)
        components[index], scratch.spare = total, component
        if index == last and _is_exact(total, component, term, scratch.part):
            return
        _rounding_error(total, component, term, scratch.part)
    if not np.isfinite(term).all():
        raise AggregationError(
            "a sum of updates leaves the range of float64", hint="clip the updates, or use smaller weights"
        )
    components.append(term.copy())


def _is_exact(total: Flat, a: Flat, b: Flat, part: Flat) -> bool:
    """Whether total = fl(a + b) lost nothing anywhere, which is cheaper to see than what it lost.

    Where |a| ≥ |b|, total − a is computed exactly (Dekker 1971), so that total − a = b says total = a + b; where |a| < |b|, the
    other difference says it. An exact sum fulfils both.
    """
    return bool((np.subtract(total, a, out=part) == b).all() and (np.subtract(total, b, out=part) == a).all())


def _rounding_error(total: Flat, a: Flat, b: Flat, part: Flat) -> None:
    """The rest of Knuth's TwoSum: b becomes a + b − total, exactly."""
    np.subtract(total, a, out=part)
    np.subtract(b, part, out=b)
    np.subtract(total, part, out=part)
    np.subtract(a, part, out=part)
    np.add(part, b, out=b)


def _rounded(components: list[Flat]) -> Flat:
    """The exact sum of the components, correctly rounded."""
    if len(components) == 1:
        return components[0]
    rounded = components[0] + components[1]  # of two terms, the addition itself is correctly rounded
    beyond = np.any([component != 0 for component in components[2:]] or [np.zeros(len(rounded), bool)], axis=0)
    for index in np.flatnonzero(beyond):
        rounded[index] = math.fsum(component[index] for component in components)
    return rounded


class RoundedSum:
    """The running sum of weighted arrays in their own precision, float32 at least: last bits depend on the order.

    A sum beyond that precision's range, for float32 about 3·10^38, is infinite.
    """

    __slots__ = ("_total",)

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self._total = np.zeros(size, np.result_type(dtype, np.float32))

    def parts(self) -> dict[str, Any]:
        """What there is of it, to be put together elsewhere."""
        return {"total": self._total}

    @classmethod
    def of_parts(cls, total: Array) -> RoundedSum:
        """The sum that `parts` told of; it goes on in this very array."""
        made = cls(0, total.dtype)
        made._total = total
        return made

    def add(self, values: Array, weight: float = 1.0) -> None:
        """Add weight·values; `values` has shape (size,) and any real dtype."""
        alike = values.dtype == self._total.dtype
        with np.errstate(over="ignore", invalid="ignore"):
            if alike and weight == 1.0:
                self._total += values
                return
            scratch = np.empty(min(BLOCK, len(values)), self._total.dtype)
            for start in range(0, len(values), BLOCK):
                block, part = self._total[start : start + BLOCK], values[start : start + BLOCK]
                term = scratch[: len(block)]
                if not alike:
                    term[...] = part
                np.multiply(part if alike else term, weight, out=term)
                block += term

    def add_rows(self, values: Array, weights: Array) -> None:
        """Add Σ weights·values; `values` has shape (rows, size), `weights` (rows,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._total += weights.astype(self._total.dtype) @ values.astype(self._total.dtype, copy=False)

    def merge(self, other: RoundedSum) -> None:
        """Add another sum."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._total += other._total

    def total(self) -> Array:
        """The sum, shape (size,)."""
        return self._total
