"""Every executor passes the published kit."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import pytest

from hansa.simulation import SequentialExecutor
from hansa.testing import check_executor
from hansa.testing.executors import WORKS
from hansa.testing.probes import Witness


@pytest.mark.parametrize(
    "make", [SequentialExecutor, partial(SequentialExecutor, mode="fast")], ids=["sequential", "sequential, fast mode"]
)
def test_every_executor_carries_asks_out_as_the_port_promises(make: Any) -> None:
    check_executor(make)


def test_the_kit_s_works_and_rules_may_be_sent_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps((dict(WORKS), Witness()))) == (dict(WORKS), Witness())  # noqa: S301 - our own bytes
