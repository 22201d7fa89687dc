"""Gathered batches are the definition's, and every one starts at a multiple of 64 bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from hansa.core.keys import key
from hansa.core.work import ClientContext
from hansa.data import ClientDataset
from hansa.errors import DataError
from hansa.models.torch import TorchModel
from hansa.simulation.engines.torch.batches import batches
from hansa.training import SGD, LocalTraining

MODEL = TorchModel(lambda: nn.Linear(3, 2), F.cross_entropy)


@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 20),
    size=st.integers(1, 12),
    epochs=st.integers(1, 3),
    dtypes=st.tuples(st.sampled_from(["float32", "float64", "uint8", "float16"]), st.sampled_from(["int64", "uint8"])),
    indexed=st.booleans(),
    transposed=st.booleans(),
)
def test_they_are_the_definition_s(
    rows: int, width: int, size: int, epochs: int, dtypes: tuple[str, str], indexed: bool, transposed: bool
) -> None:
    generator = key(rows, "data", width).generator()
    x = generator.integers(0, 100, (width, rows)).T if transposed else generator.integers(0, 100, (rows, width))
    data = ClientDataset({"x": x.astype(dtypes[0], order="K"), "y": generator.integers(0, 2, rows).astype(dtypes[1])})
    data = data.select(generator.permutation(rows)[: (rows + 1) // 2]) if indexed else data
    training = LocalTraining(MODEL, SGD(0.1), batch_size=size, epochs=epochs)
    context = ClientContext("0", {"train": data}, key=key(7))
    found = list(batches(training, context, "cpu"))
    expected = [MODEL.tensors(batch) for batch in training.batches(context)]
    assert [count for count, _, _ in found] == [len(tensors[0]) for tensors in expected]
    for (_, _, mine), theirs in zip(found, expected, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
            assert one.is_contiguous()
            assert one.data_ptr() % 64 == 0 or not one.is_floating_point()


def test_pictures_whose_channels_lie_last_in_memory_do_so_in_no_batch() -> None:
    x = key(0).generator().random((9, 5, 4, 3), np.float32).transpose(0, 3, 1, 2)
    context = ClientContext("0", {"train": ClientDataset({"x": x, "y": np.zeros(9, np.int64)})}, key=key(7))
    training = LocalTraining(MODEL, SGD(0.1), batch_size=4, epochs=1)
    for (_, _, mine), batch in zip(batches(training, context, "cpu"), training.batches(context), strict=True):
        theirs = MODEL.tensors(batch)
        assert torch.equal(mine[0], theirs[0])
        assert mine[0].is_contiguous()
        assert theirs[0].is_contiguous(), "PyTorch's kernels for another order compute other bits"


@pytest.mark.parametrize("data", [{}, {"train": ClientDataset({"x": np.ones((0, 3)), "y": np.ones(0)})}])
def test_a_client_without_examples_is_told_so(data: dict[str, Any]) -> None:
    training = LocalTraining(MODEL, SGD(0.1), epochs=1)
    with pytest.raises(DataError, match=r"no batch|no examples"):
        list(batches(training, ClientContext("0", data), "cpu"))
