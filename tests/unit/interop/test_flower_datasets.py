"""Flower's data sets: parts as programs handle them, and every partitioner."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa.data import ClientDataset
from hansa.errors import ConfigError, UnknownName
from hansa.interop.flower.datasets import FederatedDataset, Partition
from hansa.interop.flower.datasets.partitioner import (
    DirichletPartitioner,
    IidPartitioner,
    NaturalIdPartitioner,
    Partitioner,
    PathologicalPartitioner,
    ShardPartitioner,
)

SHARED = Path(__file__).parents[4] / "shared" / "data"

DATA = ClientDataset(
    {
        "x": np.arange(120, dtype=np.float32).reshape(60, 2),
        "y": np.arange(60) % 6,
        "who": np.array(["ann", "bob", "eve"])[np.arange(60) // 20],
    }
)


def parts(partitioner: Partitioner | int, count: int) -> list[Partition]:
    dataset = FederatedDataset(dataset=DATA, partitioners={"train": partitioner})
    return [dataset.load_partition(number) for number in range(count)]


@pytest.mark.parametrize(
    "partitioner",
    [
        5,
        IidPartitioner(num_partitions=5),
        DirichletPartitioner(num_partitions=5, partition_by="y", alpha=0.5, min_partition_size=2),
        ShardPartitioner(num_partitions=5, partition_by="y", num_shards_per_partition=2),
    ],
)
def test_every_example_is_in_one_part(partitioner: Any) -> None:
    found = parts(partitioner, 5)
    assert sorted(value[0] for part in found for value in part["x"]) == DATA["x"][:, 0].tolist()
    assert [part["y"] for part in found] == [part["y"] for part in parts(partitioner, 5)]


def test_a_pathological_part_has_so_many_classes() -> None:
    for mode in ("random", "deterministic", "first-deterministic"):
        partitioner = PathologicalPartitioner(4, "y", 2, mode)
        assert [len(set(part["y"])) for part in parts(partitioner, 4)] == [2] * 4
    deterministic = parts(PathologicalPartitioner(6, "y", 2, "deterministic"), 6)
    assert [sorted(set(part["y"])) for part in deterministic] == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [0, 5]]
    first = parts(PathologicalPartitioner(6, "y", 2, "first-deterministic"), 6)
    assert all(number in part["y"] for number, part in enumerate(first))


def test_a_natural_part_is_that_of_a_value() -> None:
    dataset = FederatedDataset(dataset=DATA, partitioners={"train": NaturalIdPartitioner(partition_by="who")})
    assert dataset.num_partitions("train") == 3
    assert set(dataset.load_partition("bob", "train")["who"]) == {"bob"}


def test_a_part_is_read_one_by_one_in_batches_and_by_field() -> None:
    part = FederatedDataset(dataset=DATA, partitioners={"train": 2}).load_split("train")
    assert (len(part), part.column_names) == (60, ["x", "y", "who"])
    assert part[-1]["y"] == 5
    assert type(part[0]["y"]) is int
    assert part[2:4]["y"] == [2, 3] == part[[2, 3]]["y"]
    assert [example["y"] for example in part][:3] == [0, 1, 2]
    assert [example["y"] for example in part.__getitems__([7, 9])] == [1, 3]


def test_a_transform_is_given_lists_and_a_dataloader_takes_the_part() -> None:
    from torch.utils.data import DataLoader

    def double(batch: dict[str, Any]) -> dict[str, Any]:
        return {"x": [2 * each for each in batch["x"]], "y": batch["y"]}

    part = Partition(DATA, {"x": "x", "y": "y"}).with_transform(double)
    assert part[3]["x"].tolist() == [12.0, 14.0]
    batch = next(iter(DataLoader(part, batch_size=4)))  # type: ignore[arg-type]  # map-style by shape
    assert (tuple(batch["x"].shape), batch["y"].tolist()) == ((4, 2), [0, 1, 2, 3])


def test_a_split_is_disjoint_the_same_for_a_seed_and_as_large_as_asked_for() -> None:
    part = Partition(DATA, {"y": "y", "x": "x"})
    split = part.train_test_split(test_size=0.25, seed=1)
    assert (len(split["train"]), len(split["test"])) == (45, 15)
    rows = [value[0] for half in split.values() for value in half["x"]]
    assert sorted(rows) == DATA["x"][:, 0].tolist()
    again = part.train_test_split(test_size=15, seed=1)
    assert np.array_equal(again["test"]["x"], split["test"]["x"])
    assert not np.array_equal(part.train_test_split(test_size=15, seed=2)["test"]["x"], split["test"]["x"])
    assert part.train_test_split(test_size=2, shuffle=False)["test"]["y"] == [4, 5]
    assert sorted(part.shuffle(seed=3)["y"]) == sorted(part["y"]) != part.shuffle(seed=3)["y"]


def test_a_name_of_hansas_gives_its_own_fields_normalised() -> None:
    digits = FederatedDataset(dataset="digits", partitioners={"train": 10, "test": 2})
    assert digits.load_partition(0, "test").column_names == ["x", "y"]
    assert abs(float(np.mean(digits.load_split("train")["x"]))) < 0.1


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="MNIST's files are not in shared/data")
def test_a_name_of_the_hubs_gives_its_fields_and_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSA_DATA", str(SHARED))
    mnist = FederatedDataset(dataset="ylecun/mnist", partitioners={"train": 100})
    part = mnist.load_partition(3)
    assert part.column_names == ["image", "label"]
    assert (part[0]["image"].size, part[0]["image"].mode, len(part)) == ((28, 28), "L", 600)
    assert os.environ["HANSA_DATA"] == str(SHARED)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: FederatedDataset(dataset="minst", partitioners={}), UnknownName, "there is no data set 'minst'"),
        (lambda: FederatedDataset(dataset=DATA, partitioners={"test": 2}), UnknownName, "there is no split 'test'"),
        (lambda: FederatedDataset(dataset=DATA, partitioners={}, subset="a"), ConfigError, "subsets and preprocessors"),
        (lambda: parts(ShardPartitioner(2, "label"), 1), UnknownName, "there is no field 'label'"),
        (lambda: parts(2, 3), UnknownName, "'2'"),
        (lambda: parts(PathologicalPartitioner(2, "y", 7), 1), ConfigError, "each part should get 7 classes"),
        (lambda: PathologicalPartitioner(2, "y", 2, "x"), ConfigError, "cannot be assigned in the mode 'x'"),  # type: ignore[arg-type]
        (lambda: DirichletPartitioner(2, "y", 1.0, self_balancing=True), ConfigError, "does not balance itself"),
        (lambda: Partition(DATA, {"y": "y"}).train_test_split(1.0 * 60), ConfigError, "cannot be held out"),
    ],
)
def test_mistakes_say_what_there_is(make: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        make()
