"""What three post offices hold: handwritten digits of the postcodes that they have read, each some more often than others."""

from functools import cached_property

import hansa

SCHEMA = {"x": hansa.Field((1, 8, 8), "float32"), "y": hansa.Field((), "int64", classes=10)}


class Postcodes(hansa.ShardDescriptor):
    """Digits of 8×8 pixels, from scikit-learn. A quarter of each office's own is held out.

    Args:
        office: which of the offices this is, counted from 0.
        offices: how many there are.
    """

    schema = SCHEMA

    def __init__(self, office: int, offices: int = 3) -> None:
        self.office, self.offices = office, offices

    def describe(self) -> str:
        return f"digits of the postcodes that office {self.office} has read"

    def train(self) -> hansa.ClientDataset:
        return self._splits[0]

    def test(self) -> hansa.ClientDataset:
        return self._splits[1]

    @cached_property
    def _splits(self) -> tuple[hansa.ClientDataset, hansa.ClientDataset]:
        unlike = hansa.Dirichlet(self.offices, alpha=0.5)
        dealt = hansa.FederatedData.partition(hansa.load_dataset("digits").train, unlike, seed=1)
        return dealt.load_partition(self.office).train_test_split(0.25, seed=0)
