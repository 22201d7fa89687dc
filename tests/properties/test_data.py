"""What holds for every data set, partition and split, whatever its size and labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from hansa.core.keys import key
from hansa.data import (
    IID,
    Batch,
    ByField,
    ByLabels,
    BySizes,
    ClientDataset,
    Dirichlet,
    FederatedData,
    Partitioner,
    Shards,
)
from hansa.errors import DataError

seeds = st.integers(0, 2**32)
labels = st.lists(st.integers(0, 5), min_size=1, max_size=80)


@st.composite
def datasets(draw: st.DrawFn) -> ClientDataset:
    """Up to 80 examples that know their own number, seen whole or through an index."""
    y = draw(labels)
    data = ClientDataset({"x": np.arange(len(y)), "y": y})
    if draw(st.booleans()):
        rows = draw(st.lists(st.integers(0, len(y) - 1), min_size=1, unique=True))
        return data.select(rows)
    return data


@st.composite
def partitioners(draw: st.DrawFn) -> Partitioner:
    clients = draw(st.integers(1, 12))
    kinds: list[Partitioner] = [
        IID(clients),
        Dirichlet(clients, draw(st.floats(0.05, 100))),
        Shards(clients, draw(st.integers(1, 3))),
        ByField("y"),
        ByLabels({"low": [0, 1, 2], "middle": [2, 3], "high": [2, 3, 4, 5]}),
    ]
    return draw(st.sampled_from(kinds))


@given(datasets(), partitioners(), seeds)
def test_a_partition_is_disjoint_covers_everything_and_depends_on_the_key_alone(
    data: ClientDataset, partitioner: Partitioner, seed: int
) -> None:
    try:
        assigned = partitioner.assign(data, key(seed))
    except DataError:
        reject()  # too few examples for so many clients
    assert sorted(np.concatenate(list(assigned.values())).tolist()) == list(range(len(data)))
    assert all(len(rows) and (np.diff(rows) > 0).all() for rows in assigned.values())
    again = partitioner.assign(data, key(seed))
    assert list(assigned) == list(again)
    assert all(np.array_equal(assigned[client], again[client]) for client in assigned)


@given(datasets(), st.lists(st.integers(1, 20), min_size=1, max_size=6), seeds)
def test_sizes_are_kept_and_disjoint(data: ClientDataset, sizes: list[int], seed: int) -> None:
    if sum(sizes) > len(data):
        with pytest.raises(DataError):
            BySizes(sizes).assign(data, key(seed))
        return
    federated = FederatedData.partition(data, BySizes(sizes), seed=seed)
    assert list(federated.sizes("train").values()) == sizes
    taken = np.concatenate([each["x"] for each in federated.values()])
    assert len(set(taken.tolist())) == sum(sizes)


@given(datasets(), st.integers(1, 20), seeds)
def test_every_epoch_has_every_example_once(data: ClientDataset, size: int, seed: int) -> None:
    batches = list(data.shuffle_repeat(size, key(seed), epochs=3))
    per_epoch = math.ceil(len(data) / size)
    assert len(batches) == 3 * per_epoch
    for epoch in range(3):
        seen = np.concatenate([batch["x"] for batch in batches[epoch * per_epoch : (epoch + 1) * per_epoch]])
        assert sorted(seen.tolist()) == sorted(data["x"].tolist())


@given(datasets(), st.integers(1, 20))
def test_batches_are_the_data_in_order_and_padding_is_marked(data: ClientDataset, size: int) -> None:
    assert np.concatenate([batch["x"] for batch in data.batches(size)]).tolist() == data["x"].tolist()
    padded = list(data.padded_batches(size))
    assert all(len(batch["x"]) == len(batch["mask"]) == size for batch in padded)
    assert sum(int(batch["mask"].sum()) for batch in padded) == len(data)
    assert np.concatenate([batch["x"][batch["mask"]] for batch in padded]).tolist() == data["x"].tolist()


@given(datasets(), st.floats(0.01, 0.99), seeds, st.booleans())
def test_a_split_is_disjoint_covers_everything_and_is_stratified_within_one(
    data: ClientDataset, share: float, seed: int, stratified: bool
) -> None:
    train, test = data.train_test_split(share, seed=seed, stratify="y" if stratified else None)
    assert sorted([*train["x"].tolist(), *test["x"].tolist()]) == sorted(data["x"].tolist())
    assert len(test) == int(len(data) * share + 0.5)
    if stratified:
        assert (np.abs(test.label_counts(classes=6) - data.label_counts(classes=6) * share) < 1 + 1e-9).all()


@given(datasets(), st.integers(-5, 5), st.integers(-5, 5))
def test_transforms_compose(data: ClientDataset, factor: int, term: int) -> None:
    def scaled(batch: Batch) -> Batch:
        return {**batch, "x": batch["x"] * factor}

    def moved(batch: Batch) -> Batch:
        return {**batch, "x": batch["x"] + term}

    apart = data.with_transform(scaled).with_transform(moved).all()
    together = data.with_transform(lambda batch: moved(scaled(batch))).all()
    assert apart["x"].tolist() == together["x"].tolist() == (data["x"] * factor + term).tolist()


@given(datasets(), st.lists(st.integers(0, 79), max_size=20), st.integers(1, 20))
def test_selecting_and_batching_commute_with_reading(data: ClientDataset, rows: list[int], size: int) -> None:
    inside = [row for row in rows if row < len(data)]
    chosen = data.select(inside)
    assert chosen["x"].tolist() == data["x"][inside].tolist()
    assert len(list(chosen.batches(size))) == math.ceil(len(inside) / size)
