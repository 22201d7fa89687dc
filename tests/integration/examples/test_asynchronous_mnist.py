"""examples/asynchronous_mnist: nobody waits for the slowest device, and it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "asynchronous_mnist"

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads that wait for each other take many times as long where other tests use the processor too."""

LINE = re.compile(r"(fedavg|fedbuff): 60% after (\d+) virtual seconds, (\d+) rounds")


@pytest.fixture
def smaller(copied: Copied) -> Copied:
    copied.change(
        "experiment.py",
        {"100, 0.95": "100, 0.6", "batch_size=2000": "batch_size=1000", "test=test": "test=test.take(1000)"},
    )
    return copied


def test_the_buffered_way_is_there_long_before_the_other(smaller: Copied, real_data: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    printed = smaller.printed("experiment.py", HANSA_DATA=str(real_data), **ONE_THREAD)
    found = {name: (int(seconds), int(rounds)) for name, seconds, rounds in LINE.findall(printed)}
    assert found.keys() == {"fedavg", "fedbuff"}, printed
    assert found["fedbuff"][0] < found["fedavg"][0] / 2
    assert (smaller.folder / "comparison.svg").stat().st_size > 5000
