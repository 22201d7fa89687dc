"""A disk that is full: the run pauses, says why, and goes on when there is room; nothing is lost, and the bits are the same."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.protocol import codec

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

SCAFFOLD = Path(__file__).parent / "experiments" / "scaffold.py"


def keeps_free(live: Live, name: str, size: str) -> None:
    """Stop somebody, change how much room they leave on the disk, and start them again."""
    file = live.local.folder / name / ("director.toml" if name == "director" else "envoy.toml")
    live.local.kill(name, signal.SIGTERM)
    text, count = re.subn(r'(?m)^keep_free = ".*"', f'keep_free = "{size}"', file.read_text())
    assert count == 1
    file.write_text(text)
    live.local.start(name)


@pytest.mark.parametrize("name", ["director", "alice"])
def test_a_run_waits_while_a_disk_is_full(live: Live, name: str) -> None:
    live.arm("experiment: in the middle of the work", 4)  # the second round has begun
    run = live.submit(SCAFFOLD)
    live.until("the second round has begun", lambda: not live.armed.exists())
    keeps_free(live, name, "4096 TiB")
    try:
        live.online()
        if name == "director":
            shown = live.until("the run says that it is paused", lambda: paused(live, run))
            assert "free" in shown["why"]
        else:
            live.until("the Envoy says why", lambda: "no room" in live.log(name))
        assert live.show(run)["phase"] == "running"
    finally:
        keeps_free(live, name, "1 MiB")
    live.online()
    assert codec.digest(live.finished(run).model) == live.simulated(SCAFFOLD)


def paused(live: Live, run: str) -> dict[str, str]:
    """How a run is shown, if it is paused."""
    shown = live.show(run)
    return shown if shown.get("why", "").startswith("paused: ") else {}
