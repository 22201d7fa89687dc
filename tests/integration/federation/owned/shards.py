"""The owners' data of these tests: toy clouds, one client or two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

import hansa
from hansa.data.shards import ShardDescriptor
from hansa.testing import blobs


class One(ShardDescriptor):
    """One client's examples; `client` is its name among the clouds."""

    schema = {"x": hansa.Field((5,), "float32"), "y": hansa.Field((), "int64", classes=3)}  # noqa: RUF012 - as an owner writes it

    def __init__(self, client: str) -> None:
        self.client = client

    def train(self) -> hansa.ClientDataset:
        """To learn from."""
        return blobs()[self.client]

    def test(self) -> hansa.ClientDataset:
        """To measure on."""
        return blobs().test[self.client]


class Two(One):
    """Two clients, "a" and "b", at one owner."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.names = {"a": first, "b": second}

    def clients(self) -> Mapping[str, ShardDescriptor]:
        """Both."""
        return {name: One(client) for name, client in self.names.items()}


class Marked(One):
    """One client whose first number is a mark, and whose file's name has another one in it."""

    def __init__(self, client: str, file: str) -> None:
        super().__init__(client)
        self.file = Path(file)

    def train(self) -> hansa.ClientDataset:
        """As they lie, the mark in front."""
        data = blobs()[self.client].all()
        x = np.array(data["x"], np.float32)
        x[0, 0] = np.float32(self.file.read_text())
        print(f"read {self.file}")  # noqa: T201 - an owner's code prints too
        return hansa.ClientDataset({"x": x, "y": np.asarray(data["y"])})
