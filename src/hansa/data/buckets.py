"""A few padded lengths for data sets of many sizes: compiled code is made once a length, and little of it runs on padding.

This file must not know what is padded, or by what.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hansa.errors import ConfigError

FINEST = 1.01
"""Lengths nearer to each other than this factor are not told apart: more would take long to choose from, and save nothing."""


@dataclass(frozen=True)
class Buckets:
    """Padded lengths.

    Attributes:
        lengths: how many rows a data set may be padded to, ascending; whole batches.
        batch: the rows of a batch.
    """

    lengths: tuple[int, ...]
    batch: int = 1

    def length(self, size: int) -> int:
        """The rows that `size` examples are padded to; beyond the longest length, whole batches of their own."""
        place = bisect_left(self.lengths, size)
        return self.lengths[place] if place < len(self.lengths) else -(-size // self.batch) * self.batch

    def waste(self, sizes: Sequence[int]) -> float:
        """The share of padding in all rows of data sets of these sizes, beyond what fills their own last batches."""
        rows = sum(map(self.length, sizes))
        return 1 - sum(-(-size // self.batch) * self.batch for size in sizes) / rows if rows else 0.0

    def groups(self, sizes: Sequence[int]) -> dict[int, list[int]]:
        """For each length that is needed, ascending, the positions of the sizes that are padded to it, ascending."""
        groups: dict[int, list[int]] = {}
        for place, size in enumerate(sizes):
            groups.setdefault(self.length(size), []).append(place)
        return dict(sorted(groups.items()))


def bucketed(sizes: Sequence[int], batch: int = 1, *, waste: float = 0.2) -> Buckets:
    """The fewest lengths with which at most the share `waste` of all rows is padding.

    Chosen by dynamic programming over the sizes that occur, rounded up to whole batches: O(k u²) for k lengths and u different
    sizes, of which those within a hundredth of each other count as one.

    Args:
        sizes: how many examples each data set has, at least 1.
        batch: the rows of a batch; every length is a multiple. What fills a data set's last batch does not count as waste.
        waste: a share in [0, 1). The least that can be had is a hundredth where there are very many different sizes.

    Raises:
        ConfigError: no size, one below 1, or a `batch` or `waste` that makes no sense.
    """
    if batch < 1 or not 0 <= waste < 1:
        raise ConfigError(f"a batch has at least one row, and a share lies in [0, 1): not batch={batch}, waste={waste}")
    if not len(sizes) or min(sizes) < 1:
        raise ConfigError(
            "lengths are chosen for data sets of at least one example", hint="leave out those that have none"
        )
    steps, counts = np.unique(-(-np.asarray(sizes, np.int64) // batch), return_counts=True)
    ends = _ends(steps)
    # How many data sets, and how many steps of theirs, there are up to and with each candidate.
    many = np.concatenate(([0], np.cumsum(counts)[ends]))
    allowed = int((steps * counts).sum()) / (1 - waste)
    chosen = _fewest(steps[ends], many, allowed)
    return Buckets(tuple(int(steps[ends[place]]) * batch for place in chosen), batch)


def _ends(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The places of the lengths to choose from: of those that are not told apart the longest."""
    if len(steps) <= 200:
        return np.arange(len(steps))
    cell = np.floor(np.log(steps) / np.log(FINEST))
    return np.flatnonzero(np.append(cell[1:] != cell[:-1], True))


def _fewest(lengths: npt.NDArray[np.int64], many: npt.NDArray[np.int64], allowed: float) -> list[int]:
    """The places of the fewest lengths with which all data sets together take at most `allowed` steps, padding included.

    Args:
        lengths: to choose from, ascending, shape (n,).
        many: how many data sets are no longer than the one before each, and than the last, shape (n + 1,).
        allowed: steps. Where no choice takes so few, all lengths are taken.
    """
    n = len(lengths)
    # cost[i, j]: the data sets between the candidates i and j padded to the length of j; best[j]: all up to j, with k lengths.
    cost = lengths[None, :] * (many[None, 1:] - many[:-1, None]).astype(np.float64)
    cost[np.arange(n)[:, None] > np.arange(n)[None, :]] = np.inf
    best, cuts = cost[0], [np.zeros(n, np.int64)]
    while best[-1] > allowed and len(cuts) < n:
        total = np.concatenate(([np.inf], best[:-1]))[:, None] + cost
        cuts.append(total.argmin(axis=0))
        best = total[cuts[-1], np.arange(n)]
    chosen, end = [], n - 1
    for cut in reversed(cuts):
        chosen.append(end)
        end = int(cut[end]) - 1
    return chosen[::-1]
