"""Clients' data from arrays, SQLite, a folder or a function: loaded on access, checked, and named where they are wrong."""

from __future__ import annotations

import os
import pickle
import sqlite3
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from hansa.core.ids import LazyIds, Numbered
from hansa.core.keys import key
from hansa.core.population import LazySizes, Population
from hansa.core.sampling import UniformSampler, WeightedSampler
from hansa.data import IID, ClientDataset, FederatedData, Field
from hansa.data.stores import sqlite
from hansa.data.stores.store import ClientStore
from hansa.errors import ConfigError, DataError, StoreError, UnknownName

MANY = 10_000_000


def arrays(n: int = 6, width: int = 3) -> dict[str, np.ndarray]:
    return {"x": np.arange(n * width, dtype=np.float32).reshape(n, width), "y": np.arange(n) % 4}


def dataset(n: int = 6, width: int = 3) -> ClientDataset:
    return ClientDataset(arrays(n, width))


def save(path: Path, columns: Mapping[str, Any], how: Callable[..., None] = np.savez) -> None:
    how(path, **columns)


def federation() -> FederatedData:
    schema = {"x": Field((3,), "float32"), "y": Field((), "int64", classes=4)}
    train = {"b": dataset(6), "a": dataset(2), "ü/1": dataset(3)}
    return FederatedData(train, {"a": dataset(1), "judge": dataset(5)}, schema=schema)


def same(found: FederatedData, expected: FederatedData) -> None:
    assert tuple(found.clients) == tuple(expected.clients)
    for split in ("train", "test"):
        assert list(found.split(split)) == list(expected.split(split))
        assert found.sizes(split) == expected.sizes(split)
        for client, wanted in expected.split(split).items():
            have = found.split(split)[client]
            assert sorted(have.names) == sorted(wanted.names)
            for name in wanted.names:
                assert have[name].dtype == wanted[name].dtype
                assert np.array_equal(have[name], wanted[name], equal_nan=wanted[name].dtype.kind == "f")


class TestArrays:
    def test_owners_are_in_the_order_of_their_values(self) -> None:
        data = FederatedData.from_arrays(arrays(), [10, 9, 10, 9, 9, 2])
        assert data.clients == ("2", "9", "10")
        assert data["10"]["y"].tolist() == [0, 2]
        assert data["9"]["x"][:, 0].tolist() == [3, 9, 12]
        assert data["2"].names == ("x", "y")

    def test_nothing_is_copied(self) -> None:
        given = arrays()
        data = FederatedData.from_arrays(given, list("aabbcc"))
        assert data["a"].stored[0]["x"].base is given["x"].base or np.shares_memory(
            data["a"].stored[0]["x"], given["x"]
        )
        assert data["a"].stored[0] is data["b"].stored[0]

    def test_test_data_are_their_owners_or_an_evaluators(self) -> None:
        shared = FederatedData.from_arrays(arrays(), list("aabbcc"), test=arrays(2))
        assert shared.clients == ("a", "b", "c", "central")
        own = FederatedData.from_arrays(arrays(), list("aabbcc"), test=arrays(2), test_owner=["c", "z"])
        assert list(own.test) == ["c", "z"]

    @pytest.mark.parametrize("owner", [[1, 2], [[1]] * 6, [None] * 6, "abcdef"])
    def test_each_example_has_one_owner(self, owner: object) -> None:
        with pytest.raises(DataError, match="one owner for each of 6 examples"):
            FederatedData.from_arrays(arrays(), owner)  # type: ignore[arg-type]  # on purpose

    def test_what_makes_no_sense(self) -> None:
        with pytest.raises(ConfigError, match="there are none"):
            FederatedData.from_arrays(arrays(), list("aabbcc"), test_owner=["a"])
        with pytest.raises(ConfigError, match="'central'"):
            FederatedData.from_arrays(arrays(), ["central"] * 6, test=arrays(2))
        with pytest.raises(DataError, match="one row an example"):
            FederatedData.from_arrays({"x": np.zeros(3), "y": np.zeros(2)}, [1, 2, 3])
        with pytest.raises(DataError, match="at least one client"):
            FederatedData.from_arrays({"x": np.zeros((0, 3))}, [])


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return federation().to_sqlite(tmp_path / "clients.sqlite")

    @pytest.fixture(params=["listed", "not listed"])
    def data(self, path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FederatedData:
        if request.param == "not listed":
            monkeypatch.setattr(sqlite, "LISTED", 0)
        return FederatedData.from_sqlite(path)

    def test_comes_back_as_it_was(self, data: FederatedData) -> None:
        same(data, federation())
        assert data.schema == federation().schema

    def test_every_dtype_comes_back(self, tmp_path: Path) -> None:
        names = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
        fields: dict[str, np.ndarray] = {name: np.arange(2).astype(name) for name in (*names, "float16", "float64")}
        fields |= {"bf16": np.ones(2, ml_dtypes.bfloat16), "complex": np.ones((2, 2), np.complex64)}
        fields |= {"turned": np.arange(6).reshape(3, 2).T, "swapped": np.arange(2, dtype=">i4")}
        written = FederatedData({"a": ClientDataset(fields)})
        found = FederatedData.from_sqlite(written.to_sqlite(tmp_path / "all.sqlite"))["a"]
        for name, values in fields.items():
            assert found[name].dtype == values.dtype.newbyteorder("=")
            assert np.array_equal(found[name], values)

    def test_draws_the_cohorts_of_the_data_that_was_written(self, data: FederatedData) -> None:
        def cohorts(of: FederatedData) -> list[tuple[str, ...]]:
            population = Population(of.clients, {split: of.sizes(split) for split in ("train", "test")})
            assert set(population.holding("test").ids) == {"a", "judge"}
            asked = (population.holding("train"), population.without({"a"}).holding("train"))
            return [UniformSampler(2).sample(some, key(seed)) for seed in range(9) for some in asked]

        assert cohorts(data) == cohorts(federation())

    def test_sizes_and_ids_need_no_examples(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("read the examples")

        monkeypatch.setattr("hansa.data.stores.columns.decode", refuse)
        data = FederatedData.from_sqlite(path)
        assert data.sizes("train") == {"b": 6, "a": 2, "ü/1": 3}
        assert data.with_transform(lambda batch: batch).sizes("test") == {"a": 1, "judge": 5}
        assert data.clients == ("b", "a", "ü/1", "judge")
        only_train = FederatedData(data.split("train"))
        assert only_train.train_test_split(0.5).sizes("test") == {"b": 3, "a": 1, "ü/1": 2}

    def test_is_read_by_other_threads_and_processes(self, path: Path) -> None:
        data = FederatedData.from_sqlite(path)
        sums: list[float] = []

        def read() -> None:
            sums.extend(float(data[client]["x"].sum()) for client in data)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(sums) == sorted([float(each["x"].sum()) for each in federation().values()] * 4)

        for sent in (data, data.with_transform(dict)):
            same(pickle.loads(pickle.dumps(sent)), federation())  # noqa: S301 - our own bytes
        child = os.fork()
        if not child:  # a fork uses a connection of its own
            os._exit(0 if len(data["b"]) == 6 and data.shard("a") else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(data["b"]) == 6

    def test_ten_million_rows_would_not_be_listed(self, data: FederatedData) -> None:
        if not isinstance(data.clients, LazyIds):
            assert isinstance(data.clients, tuple)
            return
        assert isinstance(data.sizes("train"), LazySizes)
        assert data.split("train").ids.index("a") == 1
        population = Population(data.clients, {split: data.sizes(split) for split in ("train", "test")})
        for split in ("train", "test"):
            assert population.holding(split).ids is data.split(split).ids
            assert isinstance(population.without({"a"}).holding(split).ids, LazyIds)
        assert "judge" not in data
        assert "judge" in data.clients
        with pytest.raises(ConfigError, match="must know how many"):
            WeightedSampler(1).sample(Population(data.clients, {"train": data.sizes("train")}), key(0))

    def test_is_written_whole_or_not_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "clients.sqlite"
        with pytest.raises(DataError, match=r"shape \(5,\), expected \(3,\)") as caught:
            FederatedData({"a": dataset(), "b": dataset(width=5)}).to_sqlite(path)
        assert "'b'" in caught.value.where
        with pytest.raises(DataError, match="a column of <U1 cannot be kept") as caught:
            FederatedData({"a": ClientDataset({"text": ["x", "y"]})}).to_sqlite(path)
        assert caught.value.where == "client 'a', field 'text'"
        with pytest.raises(ConfigError, match="a transform cannot be written") as refused:
            FederatedData({"a": dataset()}).with_transform(lambda batch: batch).to_sqlite(path)
        assert "from_sqlite(path).with_transform" in refused.value.hint
        assert list(tmp_path.iterdir()) == []
        path.write_text("mine")
        with pytest.raises(ConfigError, match="there is a file already"):
            federation().to_sqlite(path)
        assert path.read_text() == "mine"
        with pytest.raises(StoreError, match="cannot be written"):
            federation().to_sqlite(tmp_path / "no" / "clients.sqlite")

    def test_other_files_are_refused(self, tmp_path: Path, path: Path) -> None:
        text, other = tmp_path / "text", tmp_path / "other"
        text.write_text("no database " * 100)
        sqlite3.connect(other).executescript("CREATE TABLE clients (id)")
        newer = sqlite3.connect(path)
        newer.execute("PRAGMA user_version = 2")
        newer.close()
        for wrong, said in (
            (tmp_path / "none", "there is no such file"),
            (tmp_path, "there is no such file"),
            (text, "this is no file of clients' data sets"),
            (other, "this is no file of clients' data sets"),
            (path, "the file has format 2; this version of Hansa reads 1"),
        ):
            with pytest.raises(DataError, match=said) as caught:
                FederatedData.from_sqlite(wrong)
            assert caught.value.where == str(wrong)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("UPDATE train SET columns = substr(columns, 1, 40)", "damaged"),
            ("UPDATE train SET columns = x'00'", "damaged"),
            ("UPDATE train SET examples = 7", "6 examples, and 7 are announced"),
        ],
    )
    def test_damage_is_named_with_its_client(self, path: Path, change: str, said: str) -> None:
        database = sqlite3.connect(path)
        with database:
            database.execute(change)
        database.close()
        with pytest.raises(DataError, match=said) as caught:
            FederatedData.from_sqlite(path)["b"]
        assert caught.value.where == f"{path}, client 'b'"

    def test_a_file_that_was_cut_off(self, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:9_000])
        with pytest.raises(DataError) as caught:
            list(FederatedData.from_sqlite(path).values())
        assert str(path) in caught.value.where

    def test_a_damaged_schema(self, path: Path) -> None:
        database = sqlite3.connect(path)
        with database:
            database.execute("UPDATE schema SET fields = '[3'")
        database.close()
        with pytest.raises(DataError, match="the schema in it is damaged"):
            FederatedData.from_sqlite(path)
        assert FederatedData.from_sqlite(path, schema={}).schema == {}


class TestFolder:
    def test_a_file_a_client(self, tmp_path: Path) -> None:
        for client, count in (("10", 4), ("9", 2)):
            save(tmp_path / f"{client}.npz", arrays(count))
        safetensors.numpy.save_file(arrays(3), tmp_path / "2.safetensors")
        (tmp_path / "README.txt").write_text("about")
        (tmp_path / ".10.npz").write_text("of an editor")
        data = FederatedData.from_folder(tmp_path)
        same(data, FederatedData({"2": dataset(3), "9": dataset(2), "10": dataset(4)}))
        (tmp_path / "x.npz").write_bytes((tmp_path / "9.npz").read_bytes())
        assert FederatedData.from_folder(tmp_path).clients == ("10", "2", "9", "x")

    def test_two_splits(self, tmp_path: Path) -> None:
        for split, clients in (("train", "ab"), ("test", "bj")):
            (tmp_path / split).mkdir()
            for client in clients:
                save(tmp_path / split / f"{client}.npz", arrays(), np.savez_compressed)
        data = FederatedData.from_folder(str(tmp_path))
        assert (data.clients, list(data.test)) == (("a", "b", "j"), ["b", "j"])
        save(tmp_path / "c.npz", arrays())
        with pytest.raises(DataError, match=r"1 clients' files lie beside train/, the first is c\.npz"):
            FederatedData.from_folder(tmp_path)

    def test_sizes_are_read_from_headers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save(tmp_path / "a.npz", arrays(4))
        safetensors.numpy.save_file(arrays(3), tmp_path / "b.safetensors")
        monkeypatch.setattr(np, "load", None)
        monkeypatch.setattr("hansa.data.stores.columns.decode", None)
        assert FederatedData.from_folder(tmp_path).sizes() == {"a": 4, "b": 3}

    @pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
    @pytest.mark.parametrize("damage", [b"", b"nothing", slice(0, 100), slice(50, None)])
    def test_a_damaged_file_is_named(self, tmp_path: Path, suffix: str, damage: bytes | slice) -> None:
        path = tmp_path / f"a{suffix}"
        if suffix == ".npz":
            save(path, arrays())
        else:
            safetensors.numpy.save_file(arrays(), path)
        path.write_bytes(damage if isinstance(damage, bytes) else path.read_bytes()[damage])
        data = FederatedData.from_folder(tmp_path)
        for ask in (lambda: data["a"], lambda: data.sizes()):
            with pytest.raises(DataError) as caught:
                ask()
            assert str(path) in caught.value.where

    def test_wrong_columns_are_named_with_their_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        wrongs: list[dict[str, Any]] = [{"x": np.zeros(3), "y": np.zeros(2)}, {"x": np.array(1.0)}, {}]
        for wrong in wrongs:
            save(path, wrong)
            data = FederatedData.from_folder(tmp_path)
            with pytest.raises(DataError) as caught:
                data.sizes()
            assert str(path) in caught.value.where
            with pytest.raises(DataError) as caught:
                _ = data["a"]
            assert str(path) in caught.value.where
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(DataError, match="one array without a name"):
            _ = FederatedData.from_folder(tmp_path)["a"]

    def test_nothing_in_a_file_is_executed(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=np.array([{"an": "object"}]))
        with pytest.raises(DataError, match="allow_pickle=False") as caught:
            FederatedData.from_folder(tmp_path)["a"]
        assert "numbers or text only" in caught.value.hint

    def test_a_missing_column_is_found_against_the_first_client(self, tmp_path: Path) -> None:
        save(tmp_path / "a.npz", arrays())
        np.savez(tmp_path / "b.npz", x=arrays()["x"])
        data = FederatedData.from_folder(tmp_path)
        with pytest.raises(DataError, match="the field is missing; expected by the train data of client 'a'") as caught:
            data.shard("b")
        assert caught.value.where == "client 'b', field 'y'"

    def test_folders_without_clients(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="there is no such folder"):
            FederatedData.from_folder(tmp_path / "no")
        with pytest.raises(DataError, match="there is no client's file"):
            FederatedData.from_folder(tmp_path)
        save(tmp_path / "a.npz", arrays())
        safetensors.numpy.save_file(arrays(), tmp_path / "a.safetensors")
        with pytest.raises(DataError, match="are both of client 'a'"):
            FederatedData.from_folder(tmp_path)


class TestGenerated:
    def test_a_function_makes_what_is_asked_for(self) -> None:
        made: list[int] = []

        def make(number: int) -> dict[str, np.ndarray]:
            made.append(number)
            return {"x": np.full((2, 3), number, np.float32)}

        data = FederatedData.generated(make, clients=MANY)
        assert (len(data), data.clients[-1], "10000000" in data) == (MANY, "9999999", False)
        assert repr(data) == f"FederatedData({MANY} clients to train, 0 with test data: 0, 1, 2, 3, 4, ...)"
        assert repr(data.split("train")) == f"Split({MANY} clients: 0, 1, 2, 3, 4, ...)"
        assert "9,999,980 clients more" in data._repr_html_()
        assert made == []
        assert data.schema == {"x": Field((3,), "float32")}
        assert made == [0]
        assert data.shard("77")["train"]["x"][0, 0] == 77
        assert data.sizes("train").get("77") == data.sizes()["77"] == 2
        assert data.known_sizes() == {"0": 2, "77": 2}
        assert made == [0, 77]

    def test_ids_may_be_given(self) -> None:
        data = FederatedData.generated(lambda client: {"x": [len(client)]}, ["a", "bb"], test=lambda _: {"x": [0, 0]})
        assert data.clients == ("a", "bb")
        assert data["bb"]["x"].tolist() == [2]
        assert data.sizes("test")["a"] == 2
        assert {client: counts.tolist() for client, counts in data.label_counts("x").items()} == {
            "a": [0, 1, 0],
            "bb": [0, 0, 1],
        }

    def test_views_are_as_lazy(self) -> None:
        loads: list[int] = []

        def make(number: int) -> ClientDataset:
            loads.append(number)
            return dataset(10)

        data = (
            FederatedData.generated(make, MANY).with_transform(lambda b: {**b, "x": b["x"] + 1}).train_test_split(0.2)
        )
        assert len(data) == len(data.test) == MANY
        assert data.clients is data.split("train").ids
        assert isinstance(data.sizes("test"), LazySizes)
        assert loads == []
        held = data.shard("5")
        assert (len(held["train"]), len(held["test"])) == (8, 2)
        assert set(loads) <= {0, 5}
        assert FederatedData(data).clients is FederatedData(data.split("train")).clients is data.clients
        again = FederatedData({"5": dataset(10)}).train_test_split(0.2)
        assert np.array_equal(held["test"]["y"], again.test["5"]["y"])

    def test_memory_does_not_grow_with_the_population_or_with_those_who_were_asked(self) -> None:
        one = ClientDataset({"x": np.zeros((1, 2), np.float32)})

        def peak(clients: int, visits: int) -> int:
            tracemalloc.start()
            data = FederatedData.generated(lambda _: one, clients)
            population = Population(data.clients, {split: data.sizes(split) for split in ("train", "test")})
            for number in range(visits):
                for client in UniformSampler(10).sample(population.holding("train"), key(number)):
                    data.shard(client)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return most

        peak(100, 20)
        assert peak(MANY, 100) < 1.5 * peak(2_000, 100) + 2**16

    def test_what_is_remembered_of_clients_is_bounded(self) -> None:
        data = FederatedData.generated(lambda _: {"x": [0.0]}, MANY)
        for number in range(17_000):
            data.shard(str(number))
        assert len(data.known_sizes()) == len(data._checked) == 16_384

    def test_what_is_wrong_is_said_of_the_client(self) -> None:
        wrongs: list[tuple[Any, str]] = [
            ({"x": [1], "y": [1, 2]}, "one row an example"),
            ([1], "the function returned list, expected a ClientDataset or a dict of arrays"),
            ({"x": 1}, "a single value"),
            ({}, "at least one field"),
        ]
        for made, said in wrongs:
            data = FederatedData.generated({3: made}.__getitem__, 10)
            with pytest.raises(DataError, match=said) as caught:
                _ = data["3"]
            assert "client '3'" in caught.value.where
        with pytest.raises(DataError, match="no examples in any split") as caught:
            FederatedData.generated(lambda number: dataset(0 if number else 2), 10).shard("3")
        with pytest.raises(UnknownName, match="no client '10'"):
            FederatedData.generated(lambda _: dataset(), 10).shard("10")
        nobody: list[str] = []
        for none in (0, nobody):
            with pytest.raises(ConfigError, match="at least one client"):
                FederatedData.generated(lambda _: dataset(), none)

    def test_what_the_function_raises_is_what_a_client_raised(self) -> None:
        def make(number: int) -> ClientDataset:
            raise RuntimeError(f"no camera {number}")

        data = FederatedData.generated(make, MANY, schema={"x": Field((), "float32")})
        with pytest.raises(RuntimeError, match="no camera 7"):
            data.shard("7")


class TestStoresOfOnesOwn:
    class Squares(ClientStore):
        @property
        def ids(self) -> Sequence[str]:
            return Numbered(range(0, MANY, 2))

        def __getitem__(self, client: str) -> ClientDataset:
            return ClientDataset({"x": np.full(1, int(client) ** 2)})

    def test_says_who_and_what(self) -> None:
        data = FederatedData(self.Squares(), {"judge": ClientDataset({"x": [1]})})
        assert data["4"]["x"].tolist() == [16]
        assert ("4" in data, "5" in data, "judge" in data.clients) == (True, False, True)
        assert len(data.clients) == MANY // 2 + 1
        population = Population(data.clients, {split: data.sizes(split) for split in ("train", "test")})
        assert population.holding("test").ids == ("judge",)
        assert len(population.without({"judge", "4"}).holding("train")) == MANY // 2 - 1
        assert repr(self.Squares()) == "Squares(5,000,000 clients, not listed)"
        assert next(iter(self.Squares().items()))[0] == "0"


def test_listed_data_are_as_they_were() -> None:
    data = FederatedData.partition(dataset(40), IID(4))
    assert data.clients == ("0", "1", "2", "3")
    assert isinstance(data.sizes(), dict)


def each_kind(tmp_path: Path) -> Iterator[FederatedData]:
    whole = dataset(12)
    parts = {str(number): whole.select(range(number, 12, 3)) for number in range(3)}
    yield FederatedData(parts)
    yield FederatedData.from_arrays(arrays(12), np.arange(12) % 3)
    yield FederatedData.from_sqlite(FederatedData(parts).to_sqlite(tmp_path / "c.sqlite"))
    (tmp_path / "files").mkdir()
    for client, part in parts.items():
        save(tmp_path / "files" / f"{client}.npz", part.all())
    yield FederatedData.from_folder(tmp_path / "files")
    yield FederatedData.generated(lambda number: parts[str(number)], 3)
    yield FederatedData.generated(lambda client: parts[client].all(), ["0", "1", "2"])


def test_wherever_they_are_kept_the_data_are_the_same(tmp_path: Path) -> None:
    first, *others = each_kind(tmp_path)
    for other in others:
        same(other, first)
        assert other.schema == first.schema
        split = other.train_test_split(0.25, seed=1, stratify="y")
        same(split, first.train_test_split(0.25, seed=1, stratify="y"))
