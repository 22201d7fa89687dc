"""An owner's shard for the benchmarks: a few examples that follow from a number."""

from __future__ import annotations

import numpy as np

import hansa
from hansa.data.shards import ShardDescriptor


class Few(ShardDescriptor):
    """Sixty examples of three classes."""

    def __init__(self, number: int = 0) -> None:
        self.schema = {"x": hansa.Field((5,), "float32"), "y": hansa.Field((), "int64", classes=3)}
        self._number = number

    def train(self) -> hansa.ClientDataset:
        generator = np.random.default_rng(self._number)
        y = generator.integers(3, size=60)
        return hansa.ClientDataset({"x": generator.normal(y[:, None], size=(60, 5)).astype(np.float32), "y": y})
