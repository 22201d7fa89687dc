"""A shard of the paced federation: examples in one file, to train on or to test on."""

from __future__ import annotations

import numpy as np

import hansa


class Part(hansa.ShardDescriptor):
    """A part of MNIST.

    Args:
        file: an .npz with x and y.
        split: "train" or "test".
    """

    def __init__(self, file: str, split: str) -> None:
        self.schema = {"x": hansa.Field((1, 28, 28), "float32"), "y": hansa.Field((), "int64", classes=10)}
        self._file, self._split = file, split

    def train(self) -> hansa.ClientDataset | None:
        return self._read() if self._split == "train" else None

    def test(self) -> hansa.ClientDataset | None:
        return self._read() if self._split == "test" else None

    def _read(self) -> hansa.ClientDataset:
        with np.load(self._file) as held:
            return hansa.ClientDataset({name: held[name] for name in ("x", "y")})
