"""A metric that merges and from which the area under the ROC curve follows: how scores are spread over the two classes.

This file must not know what is scored, or by whom.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from hansa.core.tree import Array
from hansa.errors import DataError

WIDTH = 1 / 32
"""Of a bin of scores. Where scores are log-odds, as a logistic loss makes them, that is 3 % of the odds."""

FARTHEST = 16.0
"""Scores beyond ±FARTHEST are counted in the outermost bins; as log-odds that is one in nine million."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How many examples of each of two classes have scores in each bin.

    Its value is the area under the ROC curve: the probability that an example of class 1 scores higher than one of class 0,
    where two scores in one bin count as half (Hanley & McNeil 1982). Counts merge exactly, so that a cohort's area is that of
    all its examples together, not a mean of areas.

    Attributes:
        counts: for each bin with examples: its number, how many of class 0 and how many of class 1; in order.
    """

    counts: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, scores: Array, labels: Array) -> Ranking:
        """Count scores.

        Args:
            scores: the higher, the more it speaks for class 1; shape (n,).
            labels: 0 or 1, shape (n,).

        Raises:
            DataError: a score is NaN, or a label neither 0 nor 1.
        """
        if np.isnan(scores).any():
            raise DataError("a score is NaN: it has no rank", hint="lower the learning rate, or look at the inputs")
        outside = labels[(labels != 0) & (labels != 1)]
        if outside.size:
            raise DataError(f"a label is {outside[0]}, and the area under the curve is of classes 0 and 1")
        last = FARTHEST / WIDTH
        bins = np.clip(np.floor(scores.astype(np.float64) / WIDTH), -last, last - 1).astype(np.int64)
        return cls._from(zip(bins.tolist(), (labels == 0).tolist(), (labels == 1).tolist(), strict=True))

    @classmethod
    def _from(cls, counts: Iterable[tuple[int, int, int]]) -> Ranking:
        zeros, ones = Counter[int](), Counter[int]()
        for place, zero, one in counts:
            zeros[place] += int(zero)
            ones[place] += int(one)
        return cls(tuple((place, zeros[place], ones[place]) for place in sorted(zeros)))

    @property
    def value(self) -> float:
        """The area under the ROC curve; NaN without examples of both classes."""
        below, area = 0, Fraction(0)
        for _, zeros, ones in self.counts:
            area += ones * (below + Fraction(zeros, 2))
            below += zeros
        return float(area / self._pairs) if self._pairs else math.nan

    @property
    def bound(self) -> float:
        """How far `value` may be from the area of the scores themselves: half of the pairs that share a bin."""
        shared = sum(zeros * ones for _, zeros, ones in self.counts)
        return float(Fraction(shared, 2 * self._pairs)) if self._pairs else math.nan

    @property
    def _pairs(self) -> int:
        return sum(zeros for _, zeros, _ in self.counts) * sum(ones for _, _, ones in self.counts)

    def merge(self, other: Ranking) -> Ranking:
        """The examples of both."""
        return Ranking._from((*self.counts, *other.counts))

    def to_json(self) -> dict[str, Any]:
        """`{"kind": "ranking", "value", "bound", "counts"}`; without examples of both classes the first two are None."""
        value, bound = (self.value, self.bound) if self._pairs else (None, None)
        return {"kind": "ranking", "value": value, "bound": bound, "counts": [list(each) for each in self.counts]}
