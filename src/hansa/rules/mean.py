"""The weighted mean: the rule of FedAvg and of most that came after it.

This file must not know what is averaged, nor in which order updates arrive: the result has the same bits for every order and
every split into partial sums (docs/adr/0001-reduction-order.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from hansa.core.tree import Array, Tree, check_alike, is_floating
from hansa.core.work import Update
from hansa.errors import AggregationError
from hansa.rules.exact import ExactSum, RoundedSum

HEADROOM = 2.0**-64
"""Every weight is multiplied by it, so that no sum of updates leaves float64, however large their values.

It changes no mean but of numbers at the other end of float64: parts of a term under 2^-1074 / (HEADROOM·weight) are lost, which
for a weight of 1 is 2^-1010, about 10^-304.
"""


@dataclass
class MeanSoFar:
    """What a `WeightedMean` keeps: sums of the floating leaves, the other leaves combined, and the weight so far.

    Attributes:
        like: an empty array of each leaf's shape and dtype, as the first update had them; None before it.
        sums: Σ weight·value of each floating leaf, and where sums are exact times HEADROOM.
        others: the combined value of each other leaf.
        weight: Σ weight, exact, and where sums are times HEADROOM.
        updates: how many updates there were.
    """

    like: Tree | None = None
    sums: dict[str, ExactSum | RoundedSum] = field(default_factory=dict)
    others: Tree = field(default_factory=dict)
    weight: Fraction = Fraction(0)
    updates: int = 0

    def parts(self) -> dict[str, Any]:
        """What there is of it, to be put together elsewhere."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def of_parts(cls, **parts: Any) -> MeanSoFar:
        """The same of its parts."""
        return cls(**parts)


@dataclass(frozen=True)
class WeightedMean:
    """Σ weight·value / Σ weight for floating leaves; others (counters, masks) are not averaged.

    Attributes:
        equal: count every update once, whatever its weight.
        integers: what becomes of leaves that are no floats: the elementwise maximum or minimum.
        exact: sum exactly, so that the order does not matter; otherwise in the leaves' own precision, float32 at least, at a
            fifth of the cost.
    """

    equal: bool = False
    integers: Literal["max", "min"] = "max"
    exact: bool = True
    grows = False

    def zero(self) -> MeanSoFar:
        """No updates."""
        return MeanSoFar()

    def check(self, accumulator: MeanSoFar, update: Update) -> None:
        """Raise `TreeMismatch` unless the leaves, shapes and dtypes are those of the updates before it."""
        if accumulator.like is not None:
            hint = "let every client train the same model, with the same shapes and dtypes"
            check_alike(update.tree, accumulator.like, where=f"the update of client {update.client!r}", hint=hint)

    def accumulate(self, accumulator: MeanSoFar, update: Update) -> MeanSoFar:
        """One update more."""
        self.check(accumulator, update)
        if accumulator.like is None:
            self._open(accumulator, update.tree)
        weight = self._weight(update)
        for name, total in accumulator.sums.items():
            total.add(_reals(update.tree[name]), weight)
        for name in accumulator.others:
            accumulator.others[name] = self._combined(accumulator.others[name], update.tree[name])
        accumulator.weight += Fraction(weight)
        accumulator.updates += 1
        return accumulator

    def accumulate_all(self, accumulator: MeanSoFar, updates: Sequence[Update]) -> MeanSoFar:
        """Many updates of one form at once, which is quicker for small ones where sums are not exact; none is checked."""
        if accumulator.like is None:
            self._open(accumulator, updates[0].tree)
        weights = [self._weight(update) for update in updates]
        for name, total in accumulator.sums.items():
            if isinstance(total, RoundedSum):
                rows = np.array([update.tree[name] for update in updates]).reshape(len(updates), -1)
                total.add_rows(rows.view(rows.real.dtype) if rows.dtype.kind == "c" else rows, np.array(weights))
            else:
                for update, weight in zip(updates, weights, strict=True):
                    total.add(_reals(update.tree[name]), weight)
        for name in accumulator.others:
            for update in updates:
                accumulator.others[name] = self._combined(accumulator.others[name], update.tree[name])
        accumulator.weight += sum(map(Fraction, weights)) if self.exact else Fraction(math.fsum(weights))
        accumulator.updates += len(updates)
        return accumulator

    def merge(self, a: MeanSoFar, b: MeanSoFar) -> MeanSoFar:
        """The updates of both."""
        if a.like is None or b.like is None:
            return a if b.like is None else b
        check_alike(b.like, a.like, where="two partial averages")
        for name, total in a.sums.items():
            total.merge(b.sums[name])  # type: ignore[arg-type]  # both are of the kind that `exact` says
        for name in a.others:
            a.others[name] = self._combined(a.others[name], b.others[name])
        return MeanSoFar(a.like, a.sums, a.others, a.weight + b.weight, a.updates + b.updates)

    def finish(self, accumulator: MeanSoFar) -> Tree:
        """The mean, with the updates' shapes and dtypes.

        Raises:
            AggregationError: there was no update, or all weights are zero.
        """
        if accumulator.like is None:
            raise AggregationError("there is no update to average", hint="see the outcomes for why no client gave one")
        if not accumulator.weight:
            raise AggregationError(
                f"the weights of all {accumulator.updates} updates are zero, so they have no mean",
                hint="a client's weight is its number of examples: give the clients data, or let every update count once",
            )
        weight = float(accumulator.weight)
        return {
            name: _as(accumulator.sums[name].total() / weight, leaf)
            if name in accumulator.sums
            else accumulator.others[name]
            for name, leaf in accumulator.like.items()
        }

    def _open(self, accumulator: MeanSoFar, first: Tree) -> None:
        accumulator.like = {name: np.broadcast_to(np.empty((), leaf.dtype), leaf.shape) for name, leaf in first.items()}
        accumulator.sums = {name: self._sum(_reals(leaf)) for name, leaf in first.items() if is_floating(leaf)}
        accumulator.others = {name: leaf for name, leaf in first.items() if not is_floating(leaf)}

    def _sum(self, leaf: Array) -> ExactSum | RoundedSum:
        return ExactSum(leaf.size) if self.exact else RoundedSum(leaf.size, leaf.dtype)

    def _weight(self, update: Update) -> float:
        return (HEADROOM if self.exact else 1.0) * (1.0 if self.equal else float(update.weight))

    def _combined(self, a: Array, b: Array) -> Array:
        return np.asarray((np.maximum if self.integers == "max" else np.minimum)(a, b))


def _reals(leaf: Array) -> Array:
    """A leaf as flat real numbers; a complex one as its real and imaginary parts in turn."""
    flat = np.ascontiguousarray(leaf).reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _as(values: Array, like: Array) -> Array:
    """Flat real numbers in the shape and dtype of `like`."""
    complex_ = values.view(f"c{2 * values.itemsize}") if like.dtype.kind == "c" else values
    with np.errstate(
        over="ignore"
    ):  # a mean may leave float16's range, and is then infinite, as in any other arithmetic
        return complex_.astype(like.dtype, copy=False).reshape(like.shape)
