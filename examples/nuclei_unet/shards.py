"""How each site's images are read, as they lie: five layouts, one schema."""

import csv
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

import hansa

SIDE = 128
SCHEMA = {
    "x": hansa.Field((3, SIDE, SIDE), "float32", range=(0, 1)),
    "y": hansa.Field((SIDE, SIDE), "uint8", classes=2),
}
Images = tuple[np.ndarray, np.ndarray]


class Site(hansa.ShardDescriptor):
    """Microscope images in colour, and where their nuclei are. A quarter of them is held out."""

    schema = SCHEMA

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def train(self) -> hansa.ClientDataset:
        return self._splits[0]

    def test(self) -> hansa.ClientDataset:
        return self._splits[1]

    @cached_property
    def _splits(self) -> tuple[hansa.ClientDataset, hansa.ClientDataset]:
        images, masks = self.read()
        if images.dtype == np.uint8:
            images = (images / 255).astype(np.float32)
        examples = hansa.ClientDataset({"x": images, "y": masks.astype(np.uint8)})
        return examples.train_test_split(0.25, seed=0)

    def read(self) -> Images:
        """Images (n, 3, height, width) and masks (n, height, width)."""
        raise NotImplementedError


class Archive(Site):
    """One .npz, colours last."""

    def read(self) -> Images:
        arrays = np.load(self.folder / "nuclei.npz")
        return arrays["images"].transpose(0, 3, 1, 2), arrays["masks"]


class Grey(Site):
    """One channel, masks packed to bits."""

    def read(self) -> Images:
        grey, packed = np.load(self.folder / "grey.npy"), np.load(self.folder / "masks.npy")
        return np.repeat(grey[:, None], 3, axis=1), np.unpackbits(packed, axis=-1)


class ChannelsFirst(Site):
    """Floats already, colours first."""

    def read(self) -> Images:
        return np.load(self.folder / "x.npy"), np.load(self.folder / "y.npy")


class Pictures(Site):
    """A folder of pictures, and another of masks with the same names."""

    def read(self) -> Images:
        masks = np.stack([np.asarray(Image.open(file)) for file in sorted((self.folder / "masks").glob("*.png"))])
        return pictures(self.folder / "images"), masks > 0


class RunLengths(Site):
    """A folder of pictures, and masks in run lengths in a table."""

    def read(self) -> Images:
        with (self.folder / "masks.csv").open(newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["image"])
        return pictures(self.folder / "images"), np.stack([unrolled(row["runs"]) for row in rows])


def pictures(folder: Path) -> np.ndarray:
    """The negatives of all pictures in a folder: light passes through these slides, and elsewhere it is nuclei that shine."""
    images = [np.asarray(Image.open(file).convert("RGB")) for file in sorted(folder.glob("*.png"))]
    return 255 - np.stack(images).transpose(0, 3, 1, 2)


def unrolled(runs: str) -> np.ndarray:
    """The mask of "first length first length ...": pixels from 1, column by column."""
    mask, numbers = np.zeros(SIDE * SIDE, np.uint8), [int(number) for number in runs.split()]
    for first, length in zip(numbers[::2], numbers[1::2], strict=True):
        mask[first - 1 : first - 1 + length] = 1
    return mask.reshape(SIDE, SIDE).T
