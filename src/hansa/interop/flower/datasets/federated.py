"""FederatedDataset: one data set, its splits divided over clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hansa.data import ClientDataset, Dataset, FederatedData, dataset_names, load_dataset
from hansa.errors import ConfigError, DataError, UnknownName
from hansa.interop.flower.datasets.partition import Partition
from hansa.interop.flower.datasets.partitioner import IidPartitioner, Partitioner

NAMES: Mapping[str, tuple[str, str]] = {
    "mnist": ("mnist", "image"),
    "ylecun/mnist": ("mnist", "image"),
    "cifar10": ("cifar10", "img"),
    "uoft-cs/cifar10": ("cifar10", "img"),
    "fashion_mnist": ("fashion_mnist", "image"),
    "zalando-datasets/fashion_mnist": ("fashion_mnist", "image"),
}
"""The hub's names of data sets, each with Hansa's and with what it calls an image."""


class FederatedDataset:
    """One data set, its splits divided over clients "0", "1", ... The files are those that `hansa.load_dataset` finds.

    Args:
        dataset: a name of the hub's that Hansa has ("mnist", "ylecun/mnist", "uoft-cs/cifar10", ...: fields "image" or "img",
            and "label"), a name that `hansa.load_dataset` knows, a `Dataset`, or a `ClientDataset`, which is the split "train".
        partitioners: for each split how it is divided: a partitioner, or a number of even parts.
        subset: not supported.
        preprocessor: not supported.
        shuffle: changes nothing: parts are random.
        seed: of every random choice.

    Raises:
        ConfigError: a setting that is not supported.
        UnknownName: there is no such data set, or no such split.
    """

    def __init__(
        self,
        *,
        dataset: str | Dataset | ClientDataset,
        partitioners: Mapping[str, Partitioner | int],
        subset: str | None = None,
        preprocessor: Any = None,
        shuffle: bool = True,  # noqa: ARG002 - as in Flower
        seed: int = 42,
    ) -> None:
        if subset is not None or preprocessor is not None:
            raise ConfigError(
                "subsets and preprocessors are not supported", hint="prepare a ClientDataset, and pass it"
            )
        self._splits, self._fields, self._images = _loaded(dataset)
        for split in partitioners:
            self._checked(split)
        self._partitioners = {
            split: IidPartitioner(each) if isinstance(each, int) else each for split, each in partitioners.items()
        }
        self._seed, self._parts = seed, dict[str, FederatedData]()

    @property
    def partitioners(self) -> dict[str, Partitioner]:
        """How each split is divided."""
        return dict(self._partitioners)

    def load_partition(self, partition_id: int | str, split: str | None = None) -> Partition:
        """One client's part of a split.

        Args:
            partition_id: which; a number from 0, or the value of a natural partition.
            split: may be left out where only one is divided.

        Raises:
            UnknownName: there is no such part, or that split is not divided.
            ConfigError: several splits are divided, and none is named.
        """
        if split is None:
            if len(self._partitioners) != 1:
                raise ConfigError("several splits are divided", hint=f"name one of {', '.join(self._partitioners)}")
            (split,) = self._partitioners
        if split not in self._partitioners:
            raise UnknownName.among("divided split", split, self._partitioners)
        return Partition(self._divided(split).load_partition(partition_id), self._fields, self._images)

    def load_split(self, split: str) -> Partition:
        """A whole split."""
        return Partition(self._checked(split), self._fields, self._images)

    def num_partitions(self, split: str) -> int:
        """How many parts a split has."""
        return len(self._divided(split))

    def _divided(self, split: str) -> FederatedData:
        if split not in self._parts:
            dataset, partitioner = self._splits[split], self._partitioners[split]
            own = {name: field for field, name in self._fields.items()}
            by = partitioner.partition_by
            if by is not None and by not in own:
                raise UnknownName.among("field", by, own)
            hansas = partitioner.over(dataset, own[by] if by is not None else "")
            self._parts[split] = FederatedData.partition(dataset, hansas, seed=self._seed)
        return self._parts[split]

    def _checked(self, split: str) -> ClientDataset:
        if split not in self._splits:
            raise UnknownName.among("split", split, self._splits)
        return self._splits[split]


def _loaded(dataset: str | Dataset | ClientDataset) -> tuple[dict[str, ClientDataset], dict[str, str], str]:
    """The splits, the names of their fields here, and which of these is of images."""
    image = ""
    if isinstance(dataset, str):
        name, image = NAMES.get(dataset, (dataset, ""))
        if name not in dataset_names():
            raise UnknownName.among("data set", dataset, dict.fromkeys([*NAMES, *dataset_names()]))
        dataset = load_dataset(name)
    splits = (
        {"train": dataset} if isinstance(dataset, ClientDataset) else {"train": dataset.train, "test": dataset.test}
    )
    if not all(isinstance(each, ClientDataset) for each in splits.values()):
        raise DataError("expected a name, a Dataset or a ClientDataset", hint="wrap arrays in a ClientDataset")
    if not image:
        return splits, {field: field for field in splits["train"].take(1).all()}, image
    renamed = {"x": image, "y": "label"}
    return splits, {field: renamed.get(field, field) for field in splits["train"].names}, image
