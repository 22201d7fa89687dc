"""How far a work is can be seen at the Director; one that does nothing any more is ended, and tried again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hansa.cli.follow import state

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live, MakeLive

COUNTING = """
import threading
from pathlib import Path

import numpy as np

import hansa

GATE = Path({gate!r})


class Counting:
    buffers = frozenset[str]()

    def __call__(self, broadcast, context):
        if context.id == "alice":
            context.progress(7, 80)
            {act}
        return hansa.Update({{name: np.ones_like(leaf) for name, leaf in broadcast.items()}})


model = hansa.NumpyMLP((5, 3))
experiment = hansa.Experiment(model, hansa.FedAvg(Counting(), rounds=1), name="counting")
"""

WAITS = "pause = threading.Event()\n            while not GATE.exists(): pause.wait(0.02)"
HANGS = "GATE.exists() or (GATE.touch(), threading.Event().wait())"


def entry(folder: Path, act: str) -> Path:
    file = folder / "counting.py"
    file.write_text(COUNTING.format(gate=str(folder / "gate"), act=act))
    return file


@pytest.fixture(scope="module")
def impatient(make_live: MakeLive) -> Live:
    return make_live(envoy={'stall = "10 min"': 'stall = "2 s"'})


def test_how_far_a_work_is_can_be_seen(impatient: Live, tmp_path: Path) -> None:
    # A work that waits does nothing; so that it is not ended, it looks at its gate often enough to be seen computing.
    run = impatient.submit(entry(tmp_path, WAITS.replace("pause.wait(0.02)", "context.progress(7, 80)")))
    shown: dict[str, Any] = impatient.until(
        "alice has told how far she is", lambda: (found := impatient.show(run)).get("progress") and found
    )
    assert shown["progress"] == {"alice": [7, 80]}
    assert "waits for alice (7 of 80)" in state(shown)
    (tmp_path / "gate").touch()
    impatient.finished(run)
    assert impatient.show(run)["progress"] == {}


def test_a_work_that_does_nothing_any_more_is_ended_and_tried_again(impatient: Live, tmp_path: Path) -> None:
    run = impatient.submit(entry(tmp_path, HANGS))
    history = impatient.finished(run)
    assert (tmp_path / "gate").exists(), "it did hang, the first time"
    assert history.entries[0].outcomes["alice"].status == "updated"
    assert impatient.died() == []
