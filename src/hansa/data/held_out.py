"""Which examples to hold out for testing.

This file must not know what the examples are: it sees their number and, to stratify, one value of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hansa.core.keys import key
from hansa.data.columns import Indices
from hansa.errors import ConfigError, DataError


def held_out(n: int, test: float, seed: int, groups: np.ndarray[Any, Any] | None = None) -> tuple[Indices, Indices]:
    """The indices to keep and those to hold out: disjoint, together 0..n-1, each ascending.

    Args:
        n: how many examples there are.
        test: the share to hold out, between 0 and 1; `n * test` is rounded to the nearest whole number.
        seed: the choice is the same for the same seed on every machine.
        groups: shape (n,); each value's share is `test` to within one example.

    Raises:
        ConfigError: `test` is not between 0 and 1.
        DataError: `groups` has more than one value an example.
    """
    if not 0 < test < 1:
        raise ConfigError(f"the share to hold out must lie between 0 and 1, not {test}", hint="0.2 holds out a fifth")
    generator = key(seed, "held out").generator()
    order = generator.permutation(n)
    wanted = int(n * test + 0.5)
    if groups is None:
        chosen = order[:wanted]
    else:
        if groups.ndim != 1:
            raise DataError(
                f"cannot stratify by values of shape {groups.shape[1:]}", hint="name a field with one value an example"
            )
        _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        order = order[np.argsort(group[order], kind="stable")]  # by group, shuffled within
        rank = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each within its group
        chosen = order[rank < np.repeat(_apportioned(sizes * test, wanted), sizes)]
    out = np.zeros(n, bool)
    out[chosen] = True
    return np.flatnonzero(~out), np.flatnonzero(out)


def _apportioned(shares: npt.NDArray[np.floating[Any]], total: int) -> Indices:
    """Whole numbers that sum to `total`, each within one of its share (largest remainders)."""
    counts: Indices = np.floor(shares).astype(np.int64)
    missing = total - int(counts.sum())
    counts[np.argsort(counts - shares, kind="stable")[:missing]] += 1
    return counts
