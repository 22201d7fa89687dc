"""The sentence that everything serves: the same experiment file gives the same bits, simulated and on real processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest

from hansa.protocol import codec

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

EXPERIMENTS = Path(__file__).parent / "experiments"


FRAMEWORKS = ["torch_mlp", "jax_pair", "flax_norm", "keras_norm", "sklearn_logistic", "boosted"]


@pytest.mark.parametrize(
    "name",
    ["averaging", "evaluated", "adaptive", "proximal", "scaffold", "dtypes", "kept", "client_classes", *FRAMEWORKS],
)
def test_a_federation_gives_the_bits_of_the_simulator(live: Live, name: str) -> None:
    entry = EXPERIMENTS / f"{name}.py"
    history = live.finished(live.submit(entry))
    assert codec.digest(history.model) == live.simulated(entry)
    assert history.environment


def test_every_client_of_an_owner_with_two_takes_part(live: Live) -> None:
    history = live.finished(live.submit(EXPERIMENTS / "evaluated.py"))
    assert {client for entry in history.entries for client in entry.outcomes} == {"alice", "bob/a", "bob/b"}


def test_dtypes_come_back_as_they_went(live: Live) -> None:
    model = live.finished(live.submit(EXPERIMENTS / "dtypes.py")).model
    assert {name: leaf.dtype for name, leaf in model.items()} == {
        "coarse": np.dtype(ml_dtypes.bfloat16),
        "fine": np.dtype(np.float64),
        "seen": np.dtype(np.int64),
        "peak": np.dtype(np.float32),
    }
