"""What the gate lets through, and what it says of the rest."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from hansa.core.gate import as_update, refusal
from hansa.core.metrics import Mean, Metrics
from hansa.core.work import Update
from hansa.errors import InputError


@pytest.mark.parametrize("weight", [0.0, 1, 1e300])
def test_an_update_of_numbers_passes(weight: float) -> None:
    assert refusal(Update({"w": np.ones(2), "n": np.array([2**60]), "empty": np.zeros(0)}, weight)) is None
    assert refusal(Update({}, weight)) is None


@pytest.mark.parametrize("weight", [-1.0, -1e-300, math.nan, math.inf, -math.inf])
def test_a_weight_that_makes_no_sense_is_refused(weight: float) -> None:
    assert (
        refusal(Update({"w": np.ones(2)}, weight))
        == f"its weight is {weight}; a weight is a finite number of at least 0"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_a_leaf_that_is_not_finite_is_refused_by_name_and_with_what_was_measured(dtype: type, bad: float) -> None:
    metrics = Metrics({"loss": Mean.of(bad), "accuracy": Mean.of(0.5)})
    why = refusal(Update({"good": np.ones(2, dtype), "layer.weight": np.array([1, bad], dtype)}, 1.0, metrics)) or ""
    assert "leaf 'layer.weight' is not finite" in why
    assert "it reports loss =" in why
    assert "accuracy" not in why


@pytest.mark.parametrize(
    ("examples", "weight", "passes"), [(60, 60_000.0, True), (60, 60_001.0, False), (0, 1000.0, True)]
)
def test_a_weight_far_beyond_what_was_announced_is_refused(examples: int, weight: float, passes: bool) -> None:
    why = refusal(Update({"w": np.zeros(1)}, weight), None, examples)
    assert (why is None) == passes
    assert passes or "outweigh" in str(why)


def test_a_private_state_is_a_tree_too() -> None:
    with pytest.raises(InputError, match="private state"):
        as_update(Update({}, state={"n": np.float64(1)}))  # type: ignore[dict-item]  # a scalar, no array
