"""What is told of small data sets at once is what the whole check says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hansa.data import ClientDataset, Field, Schema, check
from hansa.errors import DataError

dtypes: st.SearchStrategy[np.dtype[Any]] = st.sampled_from([np.dtype(each) for each in ("f4", "f8", "i8", "?", "U2")])
shapes = st.sampled_from([(), (2,)])
limits = st.sampled_from([None, (-1.0, 3.0)])
fields = st.builds(
    Field, shapes, st.sampled_from(["float32", "int64", "bool"]), st.sampled_from([None, 3]), limits, st.booleans()
)


@st.composite
def datasets(draw: st.DrawFn) -> ClientDataset:
    rows = draw(st.integers(0, 4))
    columns = {
        name: draw(arrays.arrays(draw(dtypes), (rows, *draw(shapes)), elements=None))
        for name in draw(st.sampled_from([["x"], ["x", "y"]]))
    }
    dataset = ClientDataset(columns)
    return dataset.select(draw(st.lists(st.integers(0, rows - 1)))) if rows and draw(st.booleans()) else dataset


def said(dataset: ClientDataset, schema: Schema) -> str:
    try:
        check(dataset, schema, client="c")
    except DataError as error:
        return str(error)
    return ""


@given(datasets(), st.dictionaries(st.sampled_from(["x", "y"]), fields))
def test_the_quick_look_says_what_the_check_says(dataset: ClientDataset, schema: Schema) -> None:
    """A transform that changes nothing keeps the quick look away."""
    assert said(dataset, schema) == said(dataset.with_transform(lambda batch: batch), schema)
