"""The digits dealt out to several owners, some of whom hold few of a digit and many of another."""

from functools import cached_property

import hansa


class Digits(hansa.ShardDescriptor):
    """Handwritten digits of 8×8 pixels, from scikit-learn.

    Args:
        owner: which of the owners this is, counted from 0; -1 holds the test set and never trains.
        owners: how many share the digits.
    """

    schema = {"x": hansa.Field((1, 8, 8), "float32"), "y": hansa.Field((), "int64", classes=10)}

    def __init__(self, owner: int, owners: int = 10) -> None:
        self.owner, self.owners = owner, owners

    @cached_property
    def own(self) -> hansa.ClientDataset:
        digits = hansa.load_dataset("digits")
        if self.owner < 0:
            return digits.test
        unlike = hansa.Dirichlet(self.owners, alpha=0.5)
        return hansa.FederatedData.partition(digits.train, unlike).load_partition(self.owner)

    def train(self) -> hansa.ClientDataset | None:
        return None if self.owner < 0 else self.own

    def test(self) -> hansa.ClientDataset | None:
        return self.own if self.owner < 0 else None
