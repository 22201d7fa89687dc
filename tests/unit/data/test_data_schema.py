from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hansa.data import Batch, ClientDataset, Field, Schema, check, schema_of
from hansa.data import schema as schema_module
from hansa.errors import DataError

SCHEMA: Schema = {"x": Field((3,), "float32"), "y": Field((), "int64", classes=4)}


def dataset(n: int = 10, **replaced: Any) -> ClientDataset:
    return ClientDataset({"x": np.zeros((n, 3), np.float32), "y": np.arange(n) % 4, **replaced})


def with_value(index: int, value: float, n: int = 10) -> ClientDataset:
    x = np.zeros((n, 3), np.float32)
    x[index, 1] = value
    return dataset(n, x=x)


def test_schema_is_of_the_transformed_batches() -> None:
    data = dataset(x=np.zeros((10, 2, 2), np.uint8)).with_transform(lambda b: {**b, "x": b["x"].astype(np.float32)})
    assert schema_of(data) == {"x": Field((2, 2), "float32"), "y": Field((), "int64")}


def test_no_schema_of_nothing() -> None:
    with pytest.raises(DataError, match="no examples"):
        schema_of(dataset(0))


def test_good_data_pass_and_fields_beyond_the_schema_may_be_anything() -> None:
    weighted = dataset(weight=np.full(10, np.nan))
    check(weighted, SCHEMA, client="alice")
    with pytest.raises(DataError, match="10 values are NaN"):
        check(weighted, {**SCHEMA, "weight": Field((), "float64")}, client="alice")


@pytest.mark.parametrize(
    ("data", "said", "where"),
    [
        (dataset(0), "no examples", ""),
        (ClientDataset({"x": np.zeros((2, 3), np.float32)}), "missing; expected by the schema, found: x", "'y'"),
        (dataset(x=np.zeros((10, 4), np.float32)), r"shape \(4,\), expected \(3,\)", "'x'"),
        (dataset(x=np.zeros((10, 3))), "float64, expected float32", "'x'"),
        (with_value(7, np.nan), "1 value is NaN or infinite, the first in example 7", "'x'"),
        (with_value(9, -np.inf), "1 value is NaN or infinite, the first in example 9", "'x'"),
        (dataset(y=np.array([0] * 8 + [4, 9])), "2 values are outside .* the first is 4 in example 8", "'y'"),
        (dataset(y=np.array([0] * 9 + [-1])), "the first is -1 in example 9", "'y'"),
    ],
)
def test_says_what_is_wrong_with_whose_field(data: ClientDataset, said: str, where: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        check(data, SCHEMA, client="alice")
    assert "alice" in caught.value.where
    assert where in caught.value.where
    assert caught.value.hint


def test_counts_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_module, "CHUNK_BYTES", 40)
    x = np.zeros((50, 3), np.float32)
    x[[11, 12, 49], 0] = np.nan
    with pytest.raises(DataError, match="3 values are NaN or infinite, the first in example 11"):
        check(dataset(50, x=x), SCHEMA)


def test_reads_a_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_module, "CHUNK_BYTES", 1200)
    largest = 0
    gather = ClientDataset.__getitem__

    def spy(self: ClientDataset, name: str) -> np.ndarray[Any, Any]:
        nonlocal largest
        values = gather(self, name)
        largest = max(largest, values.nbytes)
        return values

    monkeypatch.setattr(ClientDataset, "__getitem__", spy)
    check(dataset(5000), SCHEMA)
    assert 0 < largest <= 1200


def test_bfloat16_is_a_float_too() -> None:
    data = ClientDataset({"x": np.array([[0.0], [np.nan]], ml_dtypes.bfloat16)})
    with pytest.raises(DataError, match="first in example 1"):
        check(data, {"x": Field((1,), "bfloat16")})


def test_labels_of_many_dimensions() -> None:
    masks = np.zeros((4, 2, 2), np.int64)
    masks[2, 1, 1] = 5
    with pytest.raises(DataError, match="the first is 5 in example 2"):
        check(ClientDataset({"y": masks}), {"y": Field((2, 2), "int64", classes=2)})


def filled(batch: Batch) -> Batch:
    return {**batch, "x": np.nan_to_num(batch["x"])}


def test_a_transform_may_mend_the_data() -> None:
    broken, counted_from_one = with_value(9, np.nan), dataset(y=np.arange(10) % 4 + 1)
    for data in (broken, counted_from_one):
        with pytest.raises(DataError):
            check(data, SCHEMA)
    check(broken.with_transform(filled), SCHEMA)
    check(counted_from_one.with_transform(lambda batch: {**batch, "y": batch["y"] - 1}), SCHEMA)


def test_a_transform_may_also_break_them() -> None:
    with pytest.raises(DataError, match="30 values are NaN"):
        check(dataset().with_transform(lambda batch: {**batch, "x": batch["x"] * np.float32(np.nan)}), SCHEMA)


def test_says_whose_schema_it_is() -> None:
    with pytest.raises(DataError, match="expected float32 by client 'bob'"):
        check(dataset(x=np.zeros((10, 3))), SCHEMA, client="alice", origin="client 'bob'")
