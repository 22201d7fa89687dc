"""What Flower's `flwr_datasets.partitioner` has: partitioners by Flower's names, each one of Hansa's underneath.

The parts are not those that Flower would draw: the same method, other random numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from hansa.core.keys import key
from hansa.data import IID, ByField, ByLabels, ClientDataset, Dirichlet
from hansa.data import Partitioner as HansaPartitioner
from hansa.data import Shards as HansaShards
from hansa.data.partition import rows_by_value
from hansa.errors import ConfigError

__all__ = [
    "DirichletPartitioner",
    "IidPartitioner",
    "NaturalIdPartitioner",
    "Partitioner",
    "PathologicalPartitioner",
    "ShardPartitioner",
]


class Partitioner(ABC):
    """A way to split one data set over clients."""

    @property
    def partition_by(self) -> str | None:
        """The field that it looks at."""
        return None

    @abstractmethod
    def over(self, dataset: ClientDataset, field: str) -> HansaPartitioner:
        """Hansa's partitioner for a data set, in which the field that this one looks at has this name."""


@dataclass(frozen=True)
class IidPartitioner(Partitioner):
    """Even parts, at random."""

    num_partitions: int

    def over(self, dataset: ClientDataset, field: str) -> HansaPartitioner:  # noqa: ARG002 - the port's signature
        """`IID`."""
        return IID(self.num_partitions)


class _ByField(Partitioner):
    def __init__(self, partition_by: str) -> None:
        self._partition_by = partition_by

    @property
    def partition_by(self) -> str:
        """The field that it looks at."""
        return self._partition_by


class NaturalIdPartitioner(_ByField):
    """A part for each value of a field, in the values' order.

    Args:
        partition_by: the field.
    """

    def over(self, dataset: ClientDataset, field: str) -> HansaPartitioner:  # noqa: ARG002 - the port's signature
        """`ByField`."""
        return ByField(field)


class DirichletPartitioner(_ByField):
    """Each class is dealt in proportions from a Dirichlet distribution.

    Args:
        num_partitions: how many parts.
        partition_by: the field with the classes.
        alpha: the concentration, one for all.
        min_partition_size: the fewest examples of a part.
        self_balancing: not supported where it is True.
        shuffle: changes nothing: parts are random.
        seed: none of its own: see `FederatedDataset`.
    """

    def __init__(
        self,
        num_partitions: int,
        partition_by: str,
        alpha: float,
        min_partition_size: int = 10,
        self_balancing: bool = False,
        shuffle: bool = True,  # noqa: ARG002 - as in Flower
        seed: int | None = None,  # noqa: ARG002 - as in Flower
    ) -> None:
        super().__init__(partition_by)
        if self_balancing:
            raise ConfigError("a Dirichlet partition does not balance itself", hint="leave out self_balancing=True")
        self._least = max(1, min_partition_size)
        self.num_partitions, self.alpha = num_partitions, alpha

    def over(self, dataset: ClientDataset, field: str) -> HansaPartitioner:  # noqa: ARG002 - the port's signature
        """`Dirichlet`."""
        return Dirichlet(self.num_partitions, self.alpha, field=field, min_examples=self._least)


class ShardPartitioner(_ByField):
    """Examples sorted by class, cut into equal shards, and so many shards at random for each part.

    Args:
        num_partitions: how many parts.
        partition_by: the field with the classes.
        num_shards_per_partition: how many shards each part gets.
        shuffle: changes nothing: shards are dealt at random.
        seed: none of its own: see `FederatedDataset`.
    """

    def __init__(
        self,
        num_partitions: int,
        partition_by: str,
        num_shards_per_partition: int = 2,
        shuffle: bool = True,  # noqa: ARG002 - as in Flower
        seed: int | None = None,  # noqa: ARG002 - as in Flower
    ) -> None:
        super().__init__(partition_by)
        self.num_partitions, self.num_shards_per_partition = num_partitions, num_shards_per_partition

    def over(self, dataset: ClientDataset, field: str) -> HansaPartitioner:  # noqa: ARG002 - the port's signature
        """`Shards`."""
        return HansaShards(self.num_partitions, self.num_shards_per_partition, field=field)


class PathologicalPartitioner(_ByField):
    """So many classes for each part; a class that several parts have is dealt evenly among them, one that none has is left out.

    Args:
        num_partitions: how many parts.
        partition_by: the field with the classes.
        num_classes_per_partition: how many classes each part gets.
        class_assignment_mode: "random"; "deterministic": part i has the classes i, i + 1, ..., beginning again at the end;
            "first-deterministic": its first class is i, the others are random.
        shuffle: changes nothing: examples are dealt at random.
        seed: of the choice of classes.
    """

    def __init__(
        self,
        num_partitions: int,
        partition_by: str,
        num_classes_per_partition: int,
        class_assignment_mode: Literal["random", "deterministic", "first-deterministic"] = "random",
        shuffle: bool = True,  # noqa: ARG002 - as in Flower
        seed: int = 42,
    ) -> None:
        super().__init__(partition_by)
        if class_assignment_mode not in ("random", "deterministic", "first-deterministic"):
            raise ConfigError(
                f"classes cannot be assigned in the mode {class_assignment_mode!r}",
                hint='choose "random", "deterministic" or "first-deterministic"',
            )
        self.num_partitions, self.num_classes_per_partition = num_partitions, num_classes_per_partition
        self._mode, self._seed = class_assignment_mode, seed

    def over(self, dataset: ClientDataset, field: str) -> HansaPartitioner:
        """`ByLabels`.

        Raises:
            ConfigError: there are fewer classes than each part should get.
        """
        classes = list(rows_by_value(dataset, field))
        if not 1 <= self.num_classes_per_partition <= len(classes):
            raise ConfigError(
                f"each part should get {self.num_classes_per_partition} classes, and there are {len(classes)}",
                hint="ask for at least 1, and at most all of them",
            )
        groups = {str(part): [classes[each] for each in self._chosen(part, len(classes))] for part in self._parts}
        return ByLabels(groups, field=field, drop=True)

    @property
    def _parts(self) -> range:
        return range(self.num_partitions)

    def _chosen(self, part: int, classes: int) -> list[int]:
        """The numbers of a part's classes."""
        count, first = self.num_classes_per_partition, part % classes
        if self._mode == "deterministic":
            return [(first + step) % classes for step in range(count)]
        generator = key(self._seed, "classes", part).generator()
        if self._mode == "random":
            return [int(each) for each in generator.permutation(classes)[:count]]
        others = [each for each in range(classes) if each != first]
        return [first, *(int(each) for each in generator.permutation(others)[: count - 1])]
