"""What Alice, Bob, Charlie and the one who tests hold: each only some of the digits, all drawn into 28×28 pixels."""

from functools import cached_property

import numpy as np

import hansa


class Digits(hansa.ShardDescriptor):
    """Handwritten digits.

    Args:
        holds: which digits to train on; without any it is the test set, of all digits.
        dataset: "digits", which scikit-learn brings along, or "mnist".
        folder: where MNIST's files lie.
    """

    schema = {"x": hansa.Field((1, 28, 28), "float32"), "y": hansa.Field((), "int64", classes=10)}

    def __init__(self, holds: list[int] | None = None, dataset: str = "digits", folder: str = "") -> None:
        self.holds, self.dataset, self.folder = holds or [], dataset, folder

    def describe(self) -> str:
        return f"the digits {', '.join(map(str, self.holds))}" if self.holds else "all digits, to test on"

    def train(self) -> hansa.ClientDataset | None:
        return self.own if self.holds else None

    def test(self) -> hansa.ClientDataset | None:
        return None if self.holds else self.own

    @cached_property
    def own(self) -> hansa.ClientDataset:
        source = hansa.load_dataset(self.dataset, folder=self.folder or None, download=False)
        examples = source.test
        if self.holds:
            examples = source.train.select(np.flatnonzero(np.isin(source.train["y"], self.holds)))
        # A copy of the own rows alone, in one form for everybody: an experiment should not care who scanned them how.
        columns = examples.all()
        side = columns["x"].shape[-1]
        return hansa.ClientDataset({**columns, "x": columns["x"] if side == 28 else enlarged(columns["x"])})


def enlarged(images: np.ndarray) -> np.ndarray:
    """Of 8×8 pixels each becomes 3×3; with a border of 2 that makes 28×28."""
    large = images.repeat(3, axis=2).repeat(3, axis=3)
    return np.pad(large, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=images.min())
