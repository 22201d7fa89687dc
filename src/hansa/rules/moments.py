"""Moments: counts, means and variances of many owners' numbers, as those of all of them together.

The pairwise formula of T. F. Chan, G. H. Golub and R. J. LeVeque, Updating Formulae and a Pairwise Algorithm for Computing
Sample Variances, 1979, equations 2.1: with d = mean_b − mean_a, M2 = M2_a + M2_b + d²·n_a·n_b / n. It never subtracts two large
sums, but in floating point its last bits depend on the order. So here the same quantity is kept exactly, as whole numbers: a
float64 is a multiple of 2^-1074, sums of such multiples are exact, and only the result is rounded. The order of the owners, and
how they are grouped on the way, changes no bit.

This file must not know what was counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from hansa.core.tree import Array, Tree, check_alike
from hansa.core.work import Update
from hansa.errors import AggregationError, TreeMismatch

BITS = 1074
"""float64's smallest number is 2^-BITS."""

SQUARES = "squares"
"""The leaf with Σ (x − mean)², which the moments of a single owner have in place of "var"."""


@dataclass(frozen=True)
class MomentsSoFar:
    """What a `Moments` keeps, for each number of an example, flat.

    Attributes:
        like: an update's leaves, for their shapes; None before the first.
        count: n.
        total: Σ n·mean, in units of 2^-BITS.
        square: Σ n·mean², in units of 2^-2·BITS.
        within: Σ (x − mean)² around each owner's own mean, in units of 2^-BITS.
        low: the smallest value; infinite before the first.
        high: the largest.
    """

    like: Tree | None = None
    count: tuple[int, ...] = ()
    total: tuple[int, ...] = ()
    square: tuple[int, ...] = ()
    within: tuple[int, ...] = ()
    low: Array | None = None
    high: Array | None = None


@dataclass(frozen=True)
class Moments:
    """The moments of all owners' numbers.

    An update has the leaves "count" (int64), "mean", "squares" and perhaps "min" and "max" (float64), all of one shape; where
    "count" is 0 the others count for nothing. The aggregate has "var" = Σ (x − mean)² / count in place of "squares". Where
    nobody had a number, everything is 0.
    """

    grows = False

    def zero(self) -> MomentsSoFar:
        """No numbers."""
        return MomentsSoFar()

    def check(self, accumulator: MomentsSoFar, update: Update) -> None:
        """Raise `TreeMismatch` for other leaves than those before it, `AggregationError` for a count or a sum below 0."""
        where, tree = f"the update of client {update.client!r}", update.tree
        if not {"count", "mean", SQUARES} <= tree.keys() <= {"count", "mean", SQUARES, "min", "max"}:
            raise TreeMismatch(f"these are no moments: {', '.join(map(repr, tree)) or 'no leaf'}", where=where)
        form = {name: np.zeros(tree["count"].shape, np.int64 if name == "count" else np.float64) for name in tree}
        hint = "let every client have the same field, of the same shape"
        check_alike(tree, form if accumulator.like is None else accumulator.like, where=where, hint=hint)
        for name in ("count", SQUARES):
            if (tree[name] < 0).any():
                raise AggregationError(f"{name!r} of some moments is below 0", where=where)

    def accumulate(self, accumulator: MomentsSoFar, update: Update) -> MomentsSoFar:
        """One owner's numbers more."""
        self.check(accumulator, update)
        return self.merge(accumulator, _of(update.tree))

    def merge(self, a: MomentsSoFar, b: MomentsSoFar) -> MomentsSoFar:
        """The numbers of both."""
        if a.like is None or b.like is None:
            return a if b.like is None else b
        check_alike(b.like, a.like, where="two partial moments")
        return replace(
            a,
            count=_plus(a.count, b.count),
            total=_plus(a.total, b.total),
            square=_plus(a.square, b.square),
            within=_plus(a.within, b.within),
            low=None if a.low is None or b.low is None else np.minimum(a.low, b.low),
            high=None if a.high is None or b.high is None else np.maximum(a.high, b.high),
        )

    def finish(self, accumulator: MomentsSoFar) -> Tree:
        """The moments of all, each rounded once.

        Raises:
            AggregationError: there was no update.
        """
        like = accumulator.like
        if like is None:
            raise AggregationError("there are no moments to merge", hint="see the outcomes for why no client gave any")
        columns = zip(accumulator.count, accumulator.total, accumulator.square, accumulator.within, strict=True)
        pairs = [_mean_and_var(*column) for column in columns]
        found: dict[str, Any] = {
            "count": np.array(accumulator.count, np.int64),
            "mean": np.array([mean for mean, _ in pairs], np.float64),
            "var": np.array([var for _, var in pairs], np.float64),
        }
        there = found["count"] > 0
        for name, extreme in (("min", accumulator.low), ("max", accumulator.high)):
            if extreme is not None:
                found[name] = np.where(there, extreme.reshape(-1), 0.0)
        return {name: values.reshape(like["count"].shape) for name, values in found.items()}


def _of(tree: Tree) -> MomentsSoFar:
    """One owner's."""
    counts = [int(count) for count in tree["count"].reshape(-1)]
    means = [_units(mean) for mean in tree["mean"].reshape(-1).tolist()]
    within = [_units(squares) for squares in tree[SQUARES].reshape(-1).tolist()]
    there = tree["count"] > 0
    return MomentsSoFar(
        like=tree,
        count=tuple(counts),
        total=tuple(count * mean for count, mean in zip(counts, means, strict=True)),
        square=tuple(count * mean * mean for count, mean in zip(counts, means, strict=True)),
        within=tuple(each if count else 0 for count, each in zip(counts, within, strict=True)),
        low=np.where(there, tree["min"], np.inf) if "min" in tree else None,
        high=np.where(there, tree["max"], -np.inf) if "max" in tree else None,
    )


def _units(value: float) -> int:
    """A float64 as a multiple of 2^-BITS."""
    above, below = value.as_integer_ratio()
    return above << (BITS + 1 - below.bit_length())


def _plus(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _mean_and_var(count: int, total: int, square: int, within: int) -> tuple[float, float]:
    """Σ (x − mean)² = within + square − total²/n: exact, so that nothing is lost where the last two are large and alike."""
    if not count:
        return 0.0, 0.0
    scatter = Fraction((within << BITS) * count + square * count - total * total, count << 2 * BITS)
    return float(Fraction(total, count << BITS)), float(scatter / count)
