"""Clients' examples are the same in a worker, and what many clients share is lent once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hansa.core.tree import Tree
from hansa.data import ClientDataset
from hansa.data.dataset import Batch
from hansa.data.normalise import Normalise
from hansa.errors import ConfigError
from hansa.simulation.processes import lending as lending_module
from hansa.simulation.processes.lending import Lending
from hansa.simulation.processes.letters import Letter, Letters
from hansa.simulation.processes.library import Lent, Library, NotLent
from hansa.simulation.processes.origin import Origin
from hansa.simulation.processes.post import Parcel


def halved(batch: Batch) -> Batch:
    return {**batch, "x": batch["x"] / 2}


class Pair:
    """A parent's lending and a worker's library, without a process between them."""

    def __init__(self) -> None:
        self.letters, self.library, self.sent = Letters({}), Library({}), list[str]()
        self.lending = Lending(Origin.attribute("nothing:WORKS"), self._sealed)

    def _sealed(self, letter: Letter) -> Parcel:
        written = self.letters.written(letter)
        memory = bytearray(written.size)
        written.put(memoryview(memory))
        self.library.take(self.letters.read(memoryview(memory)))
        self.sent.append(letter.kind)
        return Parcel(b"", None)

    def lent(self, dataset: ClientDataset) -> ClientDataset:
        trees: list[Tree] = []
        self.lending.tidy()
        described = self.lending.described(dataset, trees)
        return self.library.dataset(described, trees)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.lending.close()


def arrays(rows: int) -> dict[str, Any]:
    return {"x": np.arange(rows * 2, dtype=np.float32).reshape(rows, 2), "y": np.arange(rows)}


def same(one: ClientDataset, other: ClientDataset) -> bool:
    a, b = one.all(), other.all()
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_parts_of_one_data_set_are_lent_once(pair: Pair) -> None:
    whole = ClientDataset(arrays(100))
    parts = [whole.select(np.arange(start, 100, 10)) for start in range(10)]
    assert all(same(pair.lent(part), part) for part in parts)
    assert pair.sent == ["base"]


def test_a_client_s_own_arrays_go_with_its_visit(pair: Pair) -> None:
    whole = ClientDataset(arrays(10))
    assert same(pair.lent(whole), whole)
    most = whole.select([9, 1, 2, 3, 4, 5, 6])
    assert same(pair.lent(most), most)
    assert pair.sent == []


def test_large_arrays_are_lent_although_one_client_has_them(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending_module, "LARGE", 100)
    whole = ClientDataset(arrays(10))
    assert same(pair.lent(whole), whole)
    assert same(pair.lent(whole), whole)
    assert pair.sent == ["base"]


def test_what_is_gone_here_is_lent_no_more(pair: Pair) -> None:
    for number in range(5):
        whole = ClientDataset({"x": np.full(100, number)})
        part = whole.select([number])
        assert pair.lent(part).all()["x"].tolist() == [number]
        del whole, part
        gc.collect()
    pair.lending.tidy()
    assert len(pair.lending.things) == 0


def test_of_too_many_things_the_oldest_goes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending_module, "MOST", 2)
    alive = [ClientDataset(arrays(10)) for _ in range(4)]
    for whole in alive * 2:
        part = whole.select([3])
        assert same(pair.lent(part), part)
    assert len(pair.sent) == 8
    pair.lending.tidy()
    assert len(pair.lending.things) == 2


def test_transforms_are_found_by_name_or_made_of_their_fields(pair: Pair) -> None:
    examples = ClientDataset({"x": np.arange(24, dtype=np.uint8).reshape(6, 4)}).with_transform(
        Normalise((0.1,), (0.3,))
    )
    dataset = examples.with_transform(halved)
    assert same(pair.lent(dataset), dataset)
    assert same(pair.lent(dataset.select([1, 2])), dataset.select([1, 2]))
    assert pair.sent == ["transforms", "base"]


def test_a_transform_that_nobody_could_find_is_refused(pair: Pair) -> None:
    dataset = ClientDataset(arrays(3), transform=lambda batch: batch)
    with pytest.raises(ConfigError, match="cannot be found by worker processes") as caught:
        pair.lent(dataset)
    assert "lambda" in caught.value.what
    assert caught.value.hint == "define it by `def` at the top level of a file, or as a frozen dataclass"


def test_a_shard_that_was_not_sent_says_so() -> None:
    shard = Lent(None, lambda described: {"train": ClientDataset(arrays(1))})
    assert not shard.missed
    with pytest.raises(NotLent):
        shard["train"]
    assert shard.missed
