"""Statistics: a work that trains nothing and counts one field of a client's examples.

This file must not know of other clients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hansa.core.tree import Array, Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import DataError
from hansa.models.model import field_of

BATCH = 4096
"""Examples at a time."""


@dataclass(frozen=True)
class Statistics:
    """Count, mean and sum of squares around the mean of every number of an example; NaN is a value that is missing.

    The update has the leaves "count" (int64), "mean" and "squares" = Σ (x − mean)² (float64), each of the shape of an example;
    where a number is missing in all examples they are 0. Batches are merged as Chan, Golub & LeVeque 1979 do.

    Attributes:
        field: which.
        split: of the client's data.
        extremes: "min" and "max" too.
    """

    field: str = "x"
    split: str = "train"
    extremes: bool = True

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:  # noqa: ARG002 - nothing is needed of it
        """The work.

        Raises:
            DataError: the client has nothing in this split, no such field, or one that holds text or an infinite number.
        """
        examples = context.data.get(self.split)
        where = f"client {context.id!r}"
        if examples is None or not len(examples):
            raise DataError(
                f"there are no examples in the split {self.split!r} to count",
                where=where,
                hint=f"give the client data in {self.split!r}, or leave it out of the cohort",
            )
        found: Tree | None = None
        for batch in examples.batches(BATCH):
            counted = self._counted(field_of(batch, self.field, "Statistics"), where)
            found = counted if found is None else _merged(found, counted)
        assert found is not None  # noqa: S101 - there are examples; for the type checker
        return Update(found, float(len(examples)))

    def _counted(self, values: Array, where: str) -> Tree:
        if values.dtype.kind not in "biuf" and "float" not in values.dtype.name:
            raise DataError(
                f"values are {values.dtype.name}, expected numbers",
                where=f"{where}, field {self.field!r}",
                hint="name a field of numbers",
            )
        x = values.astype(np.float64)
        if np.isinf(x).any():
            raise DataError(
                "a value is infinite",
                where=f"{where}, field {self.field!r}",
                hint="a missing value is NaN, not infinity",
            )
        there = ~np.isnan(x)
        count = there.sum(axis=0, dtype=np.int64)
        some = np.maximum(count, 1)
        mean = np.where(there, x, 0).sum(axis=0) / some
        off = np.where(there, x - mean, 0)
        # The second term corrects the rounding of the mean (Chan, Golub & LeVeque 1983, equation 1.7).
        squares = np.maximum((off**2).sum(axis=0) - off.sum(axis=0) ** 2 / some, 0)
        counted: Tree = {"count": np.asarray(count), "mean": np.asarray(mean), "squares": np.asarray(squares)}
        if self.extremes:
            counted["min"] = np.asarray(np.where(count > 0, np.where(there, x, np.inf).min(axis=0), 0.0))
            counted["max"] = np.asarray(np.where(count > 0, np.where(there, x, -np.inf).max(axis=0), 0.0))
        return counted


def _merged(a: Tree, b: Tree) -> Tree:
    """Both: mean = mean_a + d·n_b/n and M2 = M2_a + M2_b + d²·n_a·n_b/n, where d = mean_b − mean_a."""
    count = a["count"] + b["count"]
    some, apart = np.maximum(count, 1), b["mean"] - a["mean"]
    mean = np.where(a["count"] > 0, a["mean"] + apart * (b["count"] / some), b["mean"])
    squares = a["squares"] + b["squares"] + apart**2 * (a["count"] * (b["count"] / some))
    merged: Tree = {"count": count, "mean": np.asarray(mean), "squares": np.asarray(squares)}
    for name, extreme in (("min", np.minimum), ("max", np.maximum)):
        if name in a:
            both = np.where(a["count"] > 0, extreme(a[name], b[name]), b[name])
            merged[name] = np.asarray(np.where(b["count"] > 0, both, a[name]))
    return merged
