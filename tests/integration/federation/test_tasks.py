"""Tasks on real processes: the bits of the simulator, whether an optimiser travels or stays with its client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.protocol import codec

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

EXPERIMENTS = Path(__file__).parent / "experiments"


@pytest.mark.parametrize("name", ["tasks", "tasks_kept"])
def test_tasks_give_the_bits_of_the_simulator(live: Live, name: str) -> None:
    entry = EXPERIMENTS / f"{name}.py"
    history = live.finished(live.submit(entry, requirements=["torch>=2.4"]))
    assert codec.digest(history.model) == live.simulated(entry)
    assert {"validate/accuracy", "train/loss"} <= set(history.entries[-1].metrics)
