"""Standardising: a work on data that were standardised first, by statistics that came with the broadcast.

This file must not know how the statistics were gathered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hansa.core.tree import Array, Tree
from hansa.core.work import ClientContext, Update, Work
from hansa.data.dataset import Batch
from hansa.errors import DataError
from hansa.models.model import field_of

PREFIX = "scaler/"
"""The names of the statistics' leaves begin with it."""

CONSTANT = 1e-12
"""A standard deviation of so little of the mean is the rounding of owners' means: a sum of 4096 float64 is that exact."""


@dataclass(frozen=True)
class Standardiser:
    """A batch transform: (x − mean) / std, and 0 where x is NaN.

    Floating fields keep their dtype, others become float64.

    Attributes:
        mean: of each number of an example, float64.
        std: their standard deviations, all above 0.
        field: what is standardised.
    """

    mean: Array
    std: Array
    field: str = "x"

    @classmethod
    def of(cls, model: Mapping[str, Array], field: str = "x") -> Standardiser:
        """The transform that a model was trained with: the model of a run of `Standardised`.

        Raises:
            DataError: the model has no statistics.
        """
        missing = [name for name in (f"{PREFIX}mean", f"{PREFIX}std") if name not in model]
        if missing:
            raise DataError(
                f"the model has no leaf {missing[0]!r}",
                hint="it comes with a model that was trained by Standardised(...)",
            )
        return cls(model[f"{PREFIX}mean"], model[f"{PREFIX}std"], field)

    @classmethod
    def from_statistics(cls, found: Mapping[str, Array], field: str = "x") -> Standardiser:
        """The transform of these statistics, "mean" and "var"; what never varies keeps its scale."""
        std = np.sqrt(found["var"])
        return cls(found["mean"], np.where(std > CONSTANT * abs(found["mean"]), std, 1.0), field)

    def to_tree(self) -> Tree:
        """The leaves that `of` reads."""
        return {f"{PREFIX}mean": self.mean, f"{PREFIX}std": self.std}

    def __call__(self, batch: Batch) -> Batch:
        """`batch` with the field standardised, the others as they are.

        Raises:
            DataError: the batch has no such field, or examples of another shape.
        """
        values = field_of(batch, self.field, "Standardiser")
        if values.shape[1:] != self.mean.shape:
            raise DataError(
                f"examples have shape {values.shape[1:]}, and the statistics {self.mean.shape}",
                where=f"field {self.field!r}",
                hint="use the statistics of the same field",
            )
        floating = "float" in values.dtype.name
        scaled = (values.astype(np.float64) - self.mean) / self.std
        scaled[np.isnan(scaled)] = 0.0
        return {**batch, self.field: scaled.astype(values.dtype if floating else np.float64)}


@dataclass(frozen=True)
class Standardising:
    """A work whose client's data are standardised, every split of them.

    Attributes:
        work: the work; it is given the broadcast without the statistics.
        field: what is standardised.
    """

    work: Work
    field: str = "x"

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work, on standardised data.

        Raises:
            DataError: a loader made something else of the data than ClientDatasets.
        """
        transform = Standardiser.of(broadcast, self.field)
        for split, examples in context.data.items():
            if not hasattr(examples, "with_transform"):
                raise DataError(
                    f"the split {split!r} is a {type(examples).__name__}, which cannot be standardised",
                    where=f"client {context.id!r}",
                    hint="let the loader return ClientDatasets",
                )
        data = {split: examples.with_transform(transform) for split, examples in context.data.items()}
        return self.work(without_scaler(broadcast), replace(context, data=data))


def without_scaler(params: Tree) -> Tree:
    """A model without the statistics that it brings."""
    return {name: leaf for name, leaf in params.items() if not name.startswith(PREFIX)}
