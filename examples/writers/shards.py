"""MNIST by the people who wrote it: each writer is a client, and a school hosts many of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import hansa


@dataclass(frozen=True)
class Digits(hansa.ShardDescriptor):
    """Somebody's digits, to train on or to test on."""

    training: hansa.ClientDataset | None = None
    testing: hansa.ClientDataset | None = None

    def train(self) -> hansa.ClientDataset | None:
        return self.training

    def test(self) -> hansa.ClientDataset | None:
        return self.testing


class School(hansa.ShardDescriptor):
    """Handwritten digits of many people.

    Args:
        folder: where the data set's files lie.
        school: which of the schools this is, counted from 0.
        schools: how many there are; each has every so many-th writer.
        writers: how many writers train here; 0 for all.
    """

    schema = {"x": hansa.Field((1, 28, 28), "float32"), "y": hansa.Field((), "int64", classes=10)}

    def __init__(self, folder: str, school: int, schools: int = 3, writers: int = 0) -> None:
        self.folder, self.school, self.schools, self.writers = folder, school, schools, writers

    def clients(self) -> Mapping[str, hansa.ShardDescriptor]:
        return self._clients

    @cached_property
    def _clients(self) -> Mapping[str, hansa.ShardDescriptor]:
        mnist = hansa.load_dataset("mnist_by_writer", folder=self.folder, download=False)
        by_writer = hansa.FederatedData.partition(mnist.train, hansa.ByField("writer"))
        own = list(by_writer)[self.school :: self.schools][: self.writers or None]
        trains = {f"writer-{writer}": Digits(training=without_writer(by_writer[writer])) for writer in own}
        # Nobody in the test set wrote a digit to train on. Its writers only test, so they need not be told apart.
        newcomers = mnist.test.select(np.flatnonzero(mnist.test["writer"] % self.schools == self.school))
        return {**trains, "newcomers": Digits(testing=without_writer(newcomers))}


def without_writer(examples: hansa.ClientDataset) -> hansa.ClientDataset:
    """Who wrote them stays here: a copy of the pictures and labels alone."""
    columns = examples.all()
    return hansa.ClientDataset({"x": columns["x"], "y": columns["y"]})
