from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from hansa.core.population import Population
from hansa.data import IID, Batch, ByLabels, BySizes, ClientDataset, FederatedData, Field, Split
from hansa.errors import ConfigError, DataError, UnknownName


def dataset(n: int = 10, width: int = 3, **replaced: Any) -> ClientDataset:
    return ClientDataset({"x": np.zeros((n, width), np.float32), "y": np.arange(n) % 4, **replaced})


class OnDisk(Mapping[str, ClientDataset]):
    """A mapping that counts what it loads."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes
        self.loaded: list[str] = []

    def __getitem__(self, client: str) -> ClientDataset:
        self.loaded.append(client)
        return dataset(self.sizes[client])

    def __iter__(self) -> Iterator[str]:
        return iter(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)


class TestMapping:
    def test_is_the_training_split(self) -> None:
        data = FederatedData({"a": dataset(3), "b": dataset(4)}, {"b": dataset(1), "judge": dataset(2)})
        assert list(data) == ["a", "b"]
        assert len(data) == 2
        assert len(data["b"]) == 4
        assert "judge" not in data
        assert data.get("judge") is None
        assert list(data.test) == ["b", "judge"]
        assert data.clients == ("a", "b", "judge")
        assert isinstance(data.split("train"), Split)

    def test_loads_nothing_before_it_is_asked(self) -> None:
        disk = OnDisk(a=3, b=4)
        data = FederatedData(disk, OnDisk(a=1))
        _ = list(data), data.clients, "a" in data, data.get("z"), repr(data)
        _ = FederatedData(disk).with_transform(lambda batch: batch).train_test_split(0.2).clients
        assert disk.loaded == []
        _ = data["b"]
        assert disk.loaded == ["b"]

    def test_knows_its_sizes_and_loads_once_for_them(self) -> None:
        disk = OnDisk(a=3, b=4)
        data = FederatedData(disk, {"judge": dataset(2)})
        assert data.sizes("train") == data.sizes("train") == {"a": 3, "b": 4}
        assert disk.loaded == ["a", "b"]
        assert data.sizes("test") == {"judge": 2}

    def test_makes_a_population(self) -> None:
        data = FederatedData({"a": dataset(3)}, {"judge": dataset(2)})
        population = Population(data.clients, {split: data.sizes(split) for split in ("train", "test")})
        assert population.holding("train").ids == ("a",)
        assert population.holding("test").ids == ("judge",)

    def test_names_what_is_not_there(self) -> None:
        data = FederatedData({"alice": dataset()})
        for ask in (lambda: data["alcie"], lambda: data.shard("alcie"), lambda: data.load_partition("alcie")):
            with pytest.raises(UnknownName, match="client 'alcie'") as caught:
                ask()
            assert "alice" in caught.value.hint
        with pytest.raises(UnknownName, match="split 'valid'"):
            data.split("valid")
        with pytest.raises(UnknownName, match="split 'valid'"):
            data.sizes("valid")

    def test_refuses_what_is_no_federation(self) -> None:
        with pytest.raises(DataError, match="at least one client"):
            FederatedData({})
        for name in (0, "", None):
            with pytest.raises(DataError, match="must be a string"):
                FederatedData({name: dataset()})  # type: ignore[dict-item]  # on purpose
        with pytest.raises(DataError, match="expected a ClientDataset, found dict") as caught:
            _ = FederatedData({"a": {"x": [1]}})["a"]  # type: ignore[dict-item]  # on purpose
        assert "'a'" in caught.value.where

    def test_may_have_evaluators_only(self) -> None:
        data = FederatedData({}, {"judge": dataset(2)})
        assert data.clients == ("judge",)
        assert list(data.shard("judge")) == ["test"]

    def test_repr(self) -> None:
        data = FederatedData({str(n): dataset(1) for n in range(9)}, {"judge": dataset(1)})
        assert repr(data) == "FederatedData(9 clients to train, 1 with test data: 0, 1, 2, 3, 4, ...)"
        assert repr(data.test) == "Split(1 clients: judge)"


class TestShard:
    def test_is_the_splits_that_a_client_holds(self) -> None:
        data = FederatedData({"a": dataset(3), "b": dataset(4)}, {"b": dataset(1), "judge": dataset(2)})
        held = {client: {split: len(part) for split, part in data.shard(client).items()} for client in data.clients}
        assert held == {"a": {"train": 3}, "b": {"train": 4, "test": 1}, "judge": {"test": 2}}

    def test_leaves_out_an_empty_split_but_not_an_empty_client(self) -> None:
        data = FederatedData({"a": dataset(3), "b": dataset(0)}, {"a": dataset(0), "b": dataset(0)})
        assert list(data.shard("a")) == ["train"]
        with pytest.raises(DataError, match="no examples in any split") as caught:
            data.shard("b")
        assert "'b'" in caught.value.where

    def test_finds_clients_that_differ_and_names_both(self) -> None:
        data = FederatedData({"a": dataset(width=3), "b": dataset(width=5)}, {"judge": dataset(width=4)})
        data.shard("a")
        with pytest.raises(DataError, match=r"shape \(5,\), expected \(3,\) by the train data of client 'a'") as caught:
            data.shard("b")
        assert "client 'b'" in caught.value.where
        with pytest.raises(DataError, match=r"shape \(4,\)"):
            data.shard("judge")

    def test_checks_against_the_schema_given(self) -> None:
        data = FederatedData({"a": dataset()}, schema={"y": Field((), "int64", classes=3)})
        with pytest.raises(DataError, match=r"outside the 3 classes \[0, 3\), the first is 3 in example 3"):
            data.shard("a")

    def test_checks_each_only_once(self) -> None:
        seen = []

        def spy(batch: Batch) -> Batch:
            seen.append(len(batch["x"]))
            return batch

        data = FederatedData({"a": dataset()}).with_transform(spy)
        data.shard("a")
        before = len(seen)
        data.shard("a")
        assert len(seen) == before > 0

    def test_the_schema_is_that_of_the_first_client_with_examples(self) -> None:
        data = FederatedData({"a": dataset(0), "b": dataset(width=5)})
        assert data.schema == {"x": Field((5,), "float32"), "y": Field((), "int64")}
        with pytest.raises(DataError, match="no client has any"):
            _ = FederatedData({"a": dataset(0)}).schema


class TestViews:
    def test_load_partition_by_number(self) -> None:
        data = FederatedData.partition(dataset(10), BySizes([7, 3]), test=dataset(2))
        assert len(data.load_partition(1)) == len(data.load_partition("1")) == 3
        assert len(data.load_partition("central", "test")) == 2

    def test_with_transform_is_applied_to_all_splits(self) -> None:
        data = FederatedData({"a": dataset()}, {"b": dataset()}).with_transform(lambda b: {**b, "x": b["x"] + 1})
        assert data["a"].all()["x"].min() == data.test["b"].all()["x"].min() == 1

    def test_with_transform_infers_the_schema_anew_and_keeps_the_classes(self) -> None:
        schema = {"x": Field((3,), "float32"), "y": Field((), "int64", classes=7)}
        data = FederatedData({"a": dataset()}, schema=schema).with_transform(lambda b: {**b, "x": b["x"][:, :2]})
        assert data.schema == {"x": Field((2,), "float32"), "y": Field((), "int64", classes=7)}
        data.shard("a")
        assert data.label_counts()["a"].shape == (7,)

    def test_train_test_split_holds_out_of_each_client(self) -> None:
        labels = np.arange(100)
        data = FederatedData({"a": dataset(100, y=labels), "b": dataset(100, y=labels)}).train_test_split(0.2)
        for client in "ab":
            both = np.concatenate([data[client]["y"], data.test[client]["y"]])
            assert sorted(both.tolist()) == labels.tolist()
        assert data.sizes("test") == {"a": 20, "b": 20}
        assert data.test["a"]["y"].tolist() == data.test["a"]["y"].tolist() != data.test["b"]["y"].tolist()

    def test_train_test_split_does_not_depend_on_the_other_clients(self) -> None:
        alone = FederatedData({"a": dataset(50)}).train_test_split(0.2, seed=3, stratify="y")
        beside = FederatedData({"z": dataset(9), "a": dataset(50)}).train_test_split(0.2, seed=3, stratify="y")
        other = FederatedData({"a": dataset(50)}).train_test_split(0.2, seed=4, stratify="y")
        assert alone.test["a"]._index is not None
        assert np.array_equal(alone.test["a"]._index, beside.test["a"]._index)  # type: ignore[arg-type]
        assert not np.array_equal(alone.test["a"]._index, other.test["a"]._index)  # type: ignore[arg-type]

    def test_train_test_split_refuses_what_it_cannot_do(self) -> None:
        with pytest.raises(ConfigError, match="between 0 and 1"):
            FederatedData({"a": dataset()}).train_test_split(1.0)
        with pytest.raises(ConfigError, match="already"):
            FederatedData({"a": dataset()}, {"a": dataset()}).train_test_split(0.2)

    def test_label_counts_have_one_shape(self) -> None:
        data = FederatedData.partition(dataset(40), ByLabels({"low": [0, 1], "high": [2, 3]}))
        counts = data.label_counts()
        assert {client: each.tolist() for client, each in counts.items()} == {
            "low": [10, 10, 0, 0],
            "high": [0, 0, 10, 10],
        }


class TestPartition:
    def test_is_decided_by_the_seed(self) -> None:
        data = dataset(30, y=np.arange(30))
        one, same, other = (FederatedData.partition(data, IID(3), seed=seed)["0"]["y"].tolist() for seed in (1, 1, 2))
        assert one == same != other

    def test_copies_and_gathers_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        base = dataset(30)

        def refuse(*_: object) -> None:
            raise AssertionError("gathered")

        monkeypatch.setattr(ClientDataset, "__getitem__", refuse)
        monkeypatch.setattr(ClientDataset, "_batch", refuse)
        data = FederatedData.partition(base, IID(3))
        assert data.sizes("train") == {"0": 10, "1": 10, "2": 10}
        assert data["0"]._arrays is base._arrays

    def test_a_test_set_is_an_evaluators(self) -> None:
        data = FederatedData.partition(dataset(30), IID(2), test=dataset(5))
        assert data.clients == ("0", "1", "central")
        assert list(data.shard("central")) == ["test"]
        assert FederatedData.partition(dataset(30), IID(2), test={"0": dataset(5)}).clients == ("0", "1")

    def test_refuses_two_meanings_of_central(self) -> None:
        with pytest.raises(ConfigError, match="'central'"):
            FederatedData.partition(dataset(30), BySizes({"central": 30}), test=dataset(5))
