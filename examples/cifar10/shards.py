"""CIFAR-10 dealt out to several owners, each of whom decodes its own pictures and no others."""

import io
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import hansa


class Pictures(hansa.ShardDescriptor):
    """Colour pictures of ten kinds of things.

    Args:
        folder: where the data set's files lie.
        owner: which of the owners this is, counted from 0.
        owners: how many share the data set.
        alpha: 0 deals the pictures out evenly; otherwise each owner's share of a class is drawn from Dirichlet(alpha).
        limit: read at most so many pictures; 0 for all.
    """

    schema = {"x": hansa.Field((3, 32, 32), "float32"), "y": hansa.Field((), "int64", classes=10)}

    def __init__(self, folder: str, owner: int, owners: int = 10, alpha: float = 0.0, limit: int = 0) -> None:
        self.folder, self.owner, self.limit = folder, owner, limit
        self.dealing = hansa.Dirichlet(owners, alpha) if alpha else hansa.IID(owners)

    def train(self) -> hansa.ClientDataset:
        return self._own

    @cached_property
    def _own(self) -> hansa.ClientDataset:
        stored = Stored(self.folder, "train")
        parts = self.dealing.assign(hansa.ClientDataset({"y": stored.labels}), hansa.key(0, "owners"))
        own = parts[str(self.owner)]
        # In the order of the files the first ones would be of one class.
        return stored.pictures(hansa.key(0, "limit").generator().permutation(own)[: self.limit or None])


class Stored:
    """The training or the test pictures as they lie: in JPEG form, or in one of the forms that `hansa.load_dataset` reads."""

    def __init__(self, folder: str, split: str) -> None:
        archive = Path(folder) / "cifar10-jpeg" / f"cifar10_{split}_jpeg.npz"
        self.usual: hansa.ClientDataset | None = None
        if archive.is_file():
            with np.load(archive) as arrays:
                self.labels, self.offset = arrays["label"].astype(np.int64), arrays["offset"].tolist()
                self.files = memoryview(arrays["jpeg"].tobytes())
        else:
            dataset = hansa.load_dataset("cifar10", folder=folder, download=False)
            self.usual = dataset.train if split == "train" else dataset.test
            self.labels = self.usual["y"]

    def pictures(self, rows: Any = slice(None)) -> hansa.ClientDataset:
        """Some of them, or all; from -1 to 1."""
        numbers = np.arange(len(self.labels))[rows]
        x = np.stack([self._decoded(n) for n in numbers]) if self.usual is None else self.usual["x"][numbers]
        return hansa.ClientDataset({"x": x, "y": self.labels[numbers]}, transform=hansa.Normalise((0.5,), (0.5,)))

    def _decoded(self, number: int) -> Any:
        start, end = self.offset[number : number + 2]
        return np.asarray(Image.open(io.BytesIO(self.files[start:end]))).transpose(2, 0, 1)
