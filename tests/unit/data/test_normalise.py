from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hansa.data import Batch, Normalise
from hansa.errors import ConfigError, DataError, UnknownName


def test_by_channel() -> None:
    x = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    batch: Batch = {"x": x, "y": np.zeros(2)}
    result = Normalise(mean, std)(batch)
    expected = (x / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(result["x"], expected, rtol=1e-5, atol=1e-6)
    assert result["x"].dtype == np.float32
    assert result["y"] is batch["y"]
    assert x.max() == 95  # as it was


def test_one_mean_for_all_channels_another_scale_another_field() -> None:
    result = Normalise((0.5,), (0.25,), scale=16.0, field="image")({"image": np.full((1, 3, 2), 16)})
    np.testing.assert_allclose(result["image"], 2.0, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Normalise((), ()),
        lambda: Normalise((0.0,), (1.0, 1.0)),
        lambda: Normalise((0.0,), (0.0,)),
        lambda: Normalise((0.0,), (1.0,), scale=0.0),
    ],
)
def test_refuses_settings_that_make_no_sense(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError):
        make()


def test_refuses_a_batch_that_does_not_fit() -> None:
    normalise = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    with pytest.raises(UnknownName, match="'x'"):
        normalise({"y": np.zeros(1)})
    with pytest.raises(DataError, match=r"expected shape \(examples, 3, ...\), found \(2, 4, 4, 3\)"):
        normalise({"x": np.zeros((2, 4, 4, 3))})
