"""A worker's library: what it was lent, and clients' shards made of it when a work looks at them.

This file must not know how it came here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.data import ClientDataset
from hansa.data.dataset import BatchTransform
from hansa.data.recent import Recent
from hansa.data.schema import Expected
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
        self._expected: dict[int, Expected] = {}
        self._checked: dict[tuple[ClientId, int], bool] = Recent()
        self._transforms: dict[int, tuple[BatchTransform, ...]] = {}

    def take(self, letter: Letter) -> None:
        """Something lent."""
        key = letter.head["key"]
        match letter.kind:
            case "base":
                self._bases[key] = ClientDataset(letter.trees[0])
            case "expected":
                self._expected[key] = letter.value
            case "transforms":
                self._transforms[key] = tuple(map(self._found, letter.value))

    def give_back(self, keys: Collection[int]) -> None:
        """Forget what is lent no more."""
        for key in keys:
            for lent in (self._bases, self._expected, self._transforms):
                lent.pop(key, None)

    def shard(self, client: ClientId, described: Mapping[str, Any], trees: Sequence[Tree]) -> dict[str, ClientDataset]:
        """The splits of a client that the parent described, checked the first time that they are looked at here.

        Raises:
            DataError: they are not as expected.
        """
        splits = {split: self.dataset(each, trees) for split, each in described["splits"].items()}
        key = described["expected"]
        if (client, key) not in self._checked:
            for dataset in splits.values():
                self._expected[key].check(dataset, client)
            self._checked[client, key] = True
        return splits

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
        described: as the parent described them; what loading them raised; or None where nothing was sent.
        make: makes data sets of a description.

    Attributes:
        looked: whether anybody looked.
    """

    __slots__ = ("_described", "_made", "_make", "looked")

    def __init__(
        self,
        described: Mapping[str, Any] | Told | None,
        make: Callable[[Mapping[str, Any]], Mapping[str, ClientDataset]],
    ) -> None:
        self._described, self._make = described, make
        self._made: Mapping[str, ClientDataset] | None = None
        self.looked = False

    @property
    def missed(self) -> bool:
        """Whether somebody looked, and nothing was sent."""
        return self.looked and self._described is None

    def _splits(self) -> Mapping[str, ClientDataset]:
        self.looked = True
        if self._made is None:
            if self._described is None:
                raise NotLent
            if isinstance(self._described, Told):
                raise again(self._described)
            self._made = self._make(self._described)
        return self._made

    def __getitem__(self, split: str) -> ClientDataset:
        return self._splits()[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits())

    def __len__(self) -> int:
        return len(self._splits())

    def __contains__(self, split: object) -> bool:
        return split in self._splits()
