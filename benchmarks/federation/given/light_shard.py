"""A small device's data: two thousand made-up examples of the size of MNIST's."""

from __future__ import annotations

import numpy as np

import hansa
from hansa.data.shards import ShardDescriptor


class Digits(ShardDescriptor):
    """Ten classes, each around a point of its own."""

    def __init__(self) -> None:
        self.schema = {"x": hansa.Field((28, 28), "float32"), "y": hansa.Field((), "int64", classes=10)}

    def train(self) -> hansa.ClientDataset:
        return self._made(0, 1600)

    def test(self) -> hansa.ClientDataset:
        return self._made(1, 400)

    @staticmethod
    def _made(seed: int, count: int) -> hansa.ClientDataset:
        generator = np.random.default_rng(seed)
        y = generator.integers(10, size=count)
        centres = np.random.default_rng(2).normal(size=(10, 28, 28)).astype(np.float32)
        x = generator.standard_normal((count, 28, 28), np.float32)
        x += centres[y]
        return hansa.ClientDataset({"x": x, "y": y})
