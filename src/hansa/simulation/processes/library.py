"""A worker's library: what it was lent, and clients' shards made of it when a work looks at them.

This file must not know how it came here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from hansa.core.tree import Tree
from hansa.data import ClientDataset
from hansa.data.dataset import BatchTransform
from hansa.experiment.files import RUN_NAME
from hansa.simulation.processes.failures import Told, again
from hansa.simulation.processes.letters import Letter


class NotLent(BaseException):
    """A work looks at examples that were not sent along: it is to be done again with them. No work should catch it."""


class Library:
    """What a worker was lent.

    Args:
        names: what the experiment's file defines.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._bases: dict[int, ClientDataset] = {}
        self._transforms: dict[int, tuple[BatchTransform, ...]] = {}

    def take(self, letter: Letter) -> None:
        """Something lent."""
        key = letter.head["key"]
        if letter.kind == "base":
            self._bases[key] = ClientDataset(letter.trees[0])
        else:
            self._transforms[key] = tuple(map(self._found, letter.value))

    def give_back(self, keys: Collection[int]) -> None:
        """Forget what is lent no more."""
        for key in keys:
            self._bases.pop(key, None)
            self._transforms.pop(key, None)

    def dataset(self, described: Mapping[str, Any], trees: Sequence[Tree]) -> ClientDataset:
        """The data set that the parent described."""
        if "base" in described:
            dataset = self._bases[described["base"]]
            if "index" in described:
                dataset = dataset.select(trees[described["index"]]["index"])
        else:
            dataset = ClientDataset(trees[described["own"]])
        for transform in self._transforms[described["through"]] if "through" in described else ():
            dataset = dataset.with_transform(transform)
        return dataset

    def _found(self, named: Any) -> BatchTransform:
        if not isinstance(named, dict):
            transform: BatchTransform = named
            return transform
        module, _, name = named["function"].partition(":")
        found: BatchTransform = (
            self._names[name]
            if module == RUN_NAME
            else getattr(sys.modules.get(module) or importlib.import_module(module), name)
        )
        return found


class Lent(Mapping[str, ClientDataset]):
    """The splits of one client, in a worker.

    Args:
        described: each split as the parent described it; what loading it raised; or None where nothing was sent.
        make: makes a data set of a description.

    Attributes:
        looked: whether anybody looked.
    """

    __slots__ = ("_described", "_made", "_make", "looked")

    def __init__(
        self,
        described: Mapping[str, Mapping[str, Any]] | Told | None,
        make: Callable[[Mapping[str, Any]], ClientDataset],
    ) -> None:
        self._described, self._make = described, make
        self._made: dict[str, ClientDataset] = {}
        self.looked = False

    @property
    def missed(self) -> bool:
        """Whether somebody looked, and nothing was sent."""
        return self.looked and self._described is None

    def _splits(self) -> Mapping[str, Mapping[str, Any]]:
        self.looked = True
        if self._described is None:
            raise NotLent
        if isinstance(self._described, Told):
            raise again(self._described)
        return self._described

    def __getitem__(self, split: str) -> ClientDataset:
        described = self._splits()[split]
        if split not in self._made:
            self._made[split] = self._make(described)
        return self._made[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits())

    def __len__(self) -> int:
        return len(self._splits())

    def __contains__(self, split: object) -> bool:
        return split in self._splits()
