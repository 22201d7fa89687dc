"""Transforms on a real wire: the bits of the simulator, the bytes that were promised, and no private state lost with a kill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import hansa
from hansa.core.tree import nbytes
from hansa.protocol import codec

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

EXPERIMENT = Path(__file__).parent / "experiments" / "compressed.py"


def test_a_federation_gives_the_bits_of_the_simulator_for_a_quarter_of_the_bytes(live: Live) -> None:
    history = live.finished(live.submit(EXPERIMENT))
    assert codec.digest(history.model) == live.simulated(EXPERIMENT)
    trained = [entry for entry in history.entries if entry.work == "train"]
    whole = 3 * nbytes(hansa.load_experiment(EXPERIMENT).experiment.start())
    assert [entry.down for entry in trained] == [whole] * 3
    assert all(0 < entry.up < whole / 3 for entry in trained)
    assert {entry.model for entry in history.evaluations()} == {"federated", "alice", "bob/a", "bob/b"}


def test_what_was_not_sent_yet_survives_a_kill(live: Live) -> None:
    live.arm("envoy: Result not sent", 3)
    history = live.kept_up(live.submit(EXPERIMENT))
    assert codec.digest(history.model) == live.simulated(EXPERIMENT)
