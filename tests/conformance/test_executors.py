"""Every executor passes the published kit."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import pytest

from hansa.simulation import SequentialExecutor
from hansa.simulation.processes import Origin, ProcessesExecutor
from hansa.simulation.processes.crew import ProcessCrew
from hansa.simulation.processes.port import Manning
from hansa.testing import check_executor
from hansa.testing.executors import WORKS
from hansa.testing.probes import Witness


@pytest.mark.parametrize(
    "make", [SequentialExecutor, partial(SequentialExecutor, mode="fast")], ids=["sequential", "sequential, fast mode"]
)
def test_every_executor_carries_asks_out_as_the_port_promises(make: Any) -> None:
    check_executor(make)


@pytest.mark.parametrize(
    "manning",
    [Manning(1), Manning(2), Manning(3, "fast"), Manning(2, fresh=True)],
    ids=["1 worker", "2 workers", "3 workers, fast mode", "2 workers, fresh processes"],
)
def test_worker_processes_carry_asks_out_as_the_port_promises(manning: Manning) -> None:
    origin = Origin.attribute("hansa.testing.executors:WORKS")
    crew = ProcessCrew(origin, manning)  # one for all of the kit's executors, which are many
    try:
        check_executor(
            lambda works, data, seed: ProcessesExecutor(
                origin, data, seed, workers=manning.workers, mode=manning.mode, crew=crew
            )
        )
    finally:
        crew.close()


def test_the_kit_s_works_and_rules_may_be_sent_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps((dict(WORKS), Witness()))) == (dict(WORKS), Witness())  # noqa: S301 - our own bytes
