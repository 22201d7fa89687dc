from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hansa.core.keys import key
from hansa.data import IID, ByField, ByLabels, BySizes, ClientDataset, Dirichlet, Partitioner, Shards
from hansa.errors import ConfigError, DataError, UnknownName

N = 1000
DATA = ClientDataset(
    {"x": np.zeros((N, 2)), "y": key(0).generator().integers(0, 10, N), "site": np.array(["a", "b"] * (N // 2))}
)
EVERYONE = {"left": range(5), "right": range(5, 10)}

ALL: list[Partitioner] = [
    IID(7),
    ByLabels(EVERYONE),
    ByLabels({"a": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "b": [3, 4]}),
    Dirichlet(7, 0.3),
    Shards(7),
    ByField("site"),
    BySizes([300, 500, 200]),
]


@pytest.mark.parametrize("partitioner", ALL, ids=repr)
class TestEvery:
    def test_gives_each_example_to_one_client(self, partitioner: Partitioner) -> None:
        assigned = partitioner.assign(DATA, key(3))
        assert sorted(np.concatenate(list(assigned.values())).tolist()) == list(range(N))
        for rows in assigned.values():
            assert rows.dtype == np.int64
            assert (np.diff(rows) > 0).all()

    def test_depends_on_the_key_alone(self, partitioner: Partitioner) -> None:
        once, again = partitioner.assign(DATA, key(3)), partitioner.assign(DATA, key(3))
        assert {client: rows.tolist() for client, rows in once.items()} == {
            client: rows.tolist() for client, rows in again.items()
        }

    def test_refuses_an_empty_data_set(self, partitioner: Partitioner) -> None:
        with pytest.raises(DataError):
            partitioner.assign(DATA.take(0), key(3))


@pytest.mark.parametrize("partitioner", [IID(7), Dirichlet(7, 0.3), Shards(7), BySizes([300, 700]), ALL[2]], ids=repr)
def test_another_key_gives_other_parts(partitioner: Partitioner) -> None:
    one, other = (partitioner.assign(DATA, key(seed)) for seed in (3, 4))
    assert any(one[client].tolist() != other[client].tolist() for client in one)


@pytest.mark.parametrize(
    "make", [lambda n: IID(n), lambda n: Dirichlet(n, 1.0), lambda n: Shards(n, 1), lambda n: BySizes([1] * n)]
)
def test_more_clients_than_examples(make: Callable[[int], Partitioner]) -> None:
    with pytest.raises(DataError, match="at least 11 examples, but the data set has 10"):
        make(11).assign(DATA.take(10), key(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: IID(0),
        lambda: Dirichlet(0, 1.0),
        lambda: Dirichlet(2, 0.0),
        lambda: Dirichlet(2, float("nan")),
        lambda: Dirichlet(2, 1.0, min_examples=0),
        lambda: Shards(0),
        lambda: Shards(2, 0),
        lambda: BySizes([]),
        lambda: BySizes([1, 0]),
        lambda: BySizes({"a": -1}),
        lambda: ByLabels({}),
        lambda: ByLabels({"a": []}),
        lambda: ByLabels({"a": 3}),  # type: ignore[dict-item]  # on purpose
    ],
)
def test_refuses_settings_that_make_no_sense(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError):
        make()


def test_iid_is_even() -> None:
    assigned = IID(7).assign(DATA, key(0))
    assert list(assigned) == ["0", "1", "2", "3", "4", "5", "6"]
    assert {len(rows) for rows in assigned.values()} == {N // 7, N // 7 + 1}


class TestByLabels:
    def test_gives_each_group_its_labels(self) -> None:
        assigned = ByLabels(EVERYONE).assign(DATA, key(0))
        assert set(DATA.select(assigned["left"])["y"].tolist()) == set(range(5))
        assert set(DATA.select(assigned["right"])["y"].tolist()) == set(range(5, 10))

    def test_deals_a_shared_label_evenly(self) -> None:
        groups = {"a": {0, 1}, "b": {0, 2}, "c": [0]}
        assigned = ByLabels(groups, drop=True).assign(DATA, key(0))
        shares = [DATA.select(rows).label_counts(classes=10)[0] for rows in assigned.values()]
        assert sum(shares) == DATA.label_counts()[0]
        assert max(shares) - min(shares) <= 1

    def test_refuses_or_drops_labels_of_nobody(self) -> None:
        with pytest.raises(DataError, match="label 5, which is in no client's group") as caught:
            ByLabels({"a": range(5)}).assign(DATA, key(0))
        assert "drop=True" in caught.value.hint
        (rows,) = ByLabels({"a": range(5)}, drop=True).assign(DATA, key(0)).values()
        assert len(rows) == DATA.label_counts()[:5].sum()

    def test_names_a_client_that_would_get_nothing(self) -> None:
        with pytest.raises(DataError, match="no examples") as caught:
            ByLabels({"all": range(10), "none": [11]}).assign(DATA, key(0))
        assert "'none'" in caught.value.where


class TestDirichlet:
    def test_a_small_alpha_skews_more_than_a_large_one(self) -> None:
        def highest_share(alpha: float) -> float:
            assigned = Dirichlet(5, alpha).assign(DATA, key(0))
            counts = [DATA.select(rows).label_counts(classes=10) for rows in assigned.values()]
            return float(np.mean([each.max() / each.sum() for each in counts]))

        assert highest_share(0.05) > 2 * highest_share(1000.0)
        assert highest_share(1000.0) < 0.2

    def test_everyone_has_min_examples(self) -> None:
        assigned = Dirichlet(20, 0.5, min_examples=15).assign(DATA, key(1))
        assert min(len(rows) for rows in assigned.values()) >= 15

    def test_gives_up_with_advice(self) -> None:
        with pytest.raises(DataError, match=r"100 draws with alpha=0.01 .* fewer than 20 .*at best") as caught:
            Dirichlet(50, 0.01, min_examples=20).assign(DATA, key(0))
        assert "raise alpha" in caught.value.hint


def test_shards_leave_a_client_few_labels() -> None:
    data = ClientDataset({"y": np.repeat(np.arange(10), 60)})
    for rows in Shards(100).assign(data, key(0)).values():
        assert len(rows) == 6
        assert len(set(data.select(rows)["y"].tolist())) <= 2


class TestByField:
    def test_ids_are_the_values(self) -> None:
        assert list(ByField("site").assign(DATA, key(0))) == ["a", "b"]
        numbers = ByField("y").assign(DATA, key(0))
        assert list(numbers) == [str(label) for label in range(10)]
        assert all((DATA.select(rows)["y"] == int(client)).all() for client, rows in numbers.items())

    def test_sorts_numbers_as_numbers(self) -> None:
        assert list(ByField("writer").assign(ClientDataset({"writer": [10, 9, 10]}), key(0))) == ["9", "10"]

    def test_refuses_fields_that_name_nobody(self) -> None:
        with pytest.raises(DataError, match="one value an example"):
            ByField("x").assign(DATA, key(0))
        with pytest.raises(UnknownName):
            ByField("writer").assign(DATA, key(0))


class TestBySizes:
    def test_of_named_clients(self) -> None:
        assigned = BySizes({"big": 600, "small": 3}).assign(DATA, key(0))
        assert {client: len(rows) for client, rows in assigned.items()} == {"big": 600, "small": 3}
        assert not set(assigned["big"].tolist()) & set(assigned["small"].tolist())

    def test_of_too_many(self) -> None:
        with pytest.raises(DataError, match="1001 examples, but the data set has 1000"):
            BySizes([1000, 1]).assign(DATA, key(0))
