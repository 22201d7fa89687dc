"""What a field declares besides its shape: a range, and whether values may be missing."""

from __future__ import annotations

import numpy as np
import pytest

from hansa.data import ClientDataset
from hansa.data.documents import schema_from_json, schema_to_json
from hansa.data.schema import Field, check
from hansa.errors import DataError

SCHEMA = {"x": Field((2,), "float32", range=(0.0, 1.0), missing=True), "n": Field((), "int64", range=(-5, 5))}


def dataset(x: float, n: int) -> ClientDataset:
    return ClientDataset({"x": np.array([[0, 1], [0.5, x]], np.float32), "n": np.array([0, n])})


def test_a_value_that_is_declared_to_be_missing_sometimes_may_be() -> None:
    check(dataset(np.nan, 5), SCHEMA)
    with pytest.raises(DataError, match="NaN or infinite"):
        check(dataset(np.nan, 0), {"x": Field((2,), "float32")})
    with pytest.raises(DataError, match="NaN or infinite"):
        check(dataset(np.inf, 0), {"x": Field((2,), "float32", missing=True)})


@pytest.mark.parametrize(("x", "n", "field"), [(1.5, 0, "x"), (-0.1, 0, "x"), (0.0, 6, "n"), (0.0, -6, "n")])
def test_a_value_out_of_its_range_is_found(x: float, n: int, field: str) -> None:
    with pytest.raises(DataError, match="outside of") as caught:
        check(dataset(x, n), SCHEMA)
    assert field in caught.value.where


def test_they_travel_in_documents() -> None:
    assert schema_from_json(schema_to_json(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("range_", [[1], [2, 1], ["a", "b"], [0, float("inf")], 3, [True, False]])
def test_a_range_is_two_numbers_in_order(range_: object) -> None:
    document = schema_to_json(SCHEMA)
    document["x"]["range"] = range_
    with pytest.raises(DataError, match="two finite numbers"):
        schema_from_json(document)


def test_missing_is_yes_or_no() -> None:
    document = schema_to_json(SCHEMA)
    document["x"]["missing"] = "sometimes"
    with pytest.raises(DataError, match="true or false"):
        schema_from_json(document)
