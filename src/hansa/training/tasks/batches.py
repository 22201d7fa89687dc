"""Batches: a client's examples as the loop of a scientist's own training expects them, pass after pass.

This file must not know tasks, or what is done with a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any

from hansa.core.keys import Key
from hansa.core.work import nobody_looks
from hansa.data import ClientDataset
from hansa.models import Batch


class Batches:
    """One visit's examples in batches, as often as they are iterated over; `len` is the number of batches of a pass.

    Shuffled, the passes have the orders that `LocalTraining` would see with the same key.

    Args:
        examples: the client's; also to be had as `dataset`, as in a PyTorch DataLoader.
        batch_size: examples a batch; the last one of a pass may be smaller.
        made: makes of a batch of arrays by name what the loop is given, such as (inputs, target).
        key: of the orders, another for each pass; None for the examples' own order.
        progress: is told of each batch that is taken; see `ClientContext`.
    """

    def __init__(
        self,
        examples: ClientDataset,
        batch_size: int,
        made: Callable[[Batch], Any],
        key: Key | None = None,
        progress: Callable[[int, int], None] = nobody_looks,
    ) -> None:
        self.dataset, self.batch_size = examples, batch_size
        self._made, self._key, self._passes = made, key, 0
        self._progress, self._taken = progress, 0

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        examples = self.dataset
        if self._key is not None:
            order = self._key.child("epoch", self._passes).generator().permutation(len(examples))
            examples, self._passes = examples.select(order), self._passes + 1
        return map(self._told, examples.batches(self.batch_size))

    def _told(self, batch: Batch) -> Any:
        self._taken += 1
        self._progress(self._taken, 0)
        return self._made(batch)


def size(loader: object) -> int | None:
    """How many examples a loader goes through: those of its `dataset` if it has one, else its length; None: it does not say."""
    for counted in (getattr(loader, "dataset", None), loader):
        if isinstance(counted, Sized):
            try:
                return len(counted)
            except TypeError:  # how loaders of streams say that they have no length
                continue
    return None
