"""A child that neither tells of a step nor computes is found out; one that does either is left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hansa.runtime.children.pulse import LOOKS, Pulse, computed_by


@dataclass
class Child:
    """What a clock and the system say."""

    now: float = 0.0
    used: float | None = 0.0

    def pulse(self, stall: float) -> Pulse:
        return Pulse(stall, lambda: self.used, lambda: self.now)


def stops(pulse: Pulse, child: Child, each: Callable[[], None] = lambda: None, looks: int = 40) -> float | None:
    """When it is found to have stopped; None if it never is."""
    for _ in range(looks):
        child.now += pulse.look
        each()
        if pulse.stopped():
            return child.now
    return None


def test_a_child_that_does_nothing_is_found_out_when_the_time_is_over() -> None:
    child = Child()
    assert stops(child.pulse(80.0), child) == 80.0


def test_one_that_tells_of_steps_is_left_alone_and_its_time_begins_with_the_last() -> None:
    child = Child()
    pulse = child.pulse(80.0)
    assert stops(pulse, child, pulse.beats) is None
    last = child.now
    assert stops(pulse, child) == last + 80.0


@pytest.mark.parametrize(("share", "found"), [(0.5, False), (0.011, False), (0.009, True), (0.0, True)])
def test_one_that_computes_is_left_alone(share: float, found: bool) -> None:
    child = Child()
    pulse = child.pulse(80.0)

    def computes() -> None:
        child.used = (child.used or 0.0) + share * pulse.look

    assert (stops(pulse, child, computes) is not None) == found


def test_one_of_which_the_system_tells_nothing_is_believed() -> None:
    child = Child(used=None)
    assert stops(child.pulse(80.0), child) is None


def test_there_are_some_looks_in_the_time() -> None:
    assert Pulse(600.0, lambda: None, lambda: 0.0).look == 600.0 / LOOKS


BUSY = "import time; until = time.process_time() + 0.2\nwhile time.process_time() < until: pass"
CODE = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}]); print('done', flush=True); input()"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows it in /proc")
def test_what_descendants_computed_counts() -> None:
    child = subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    with child:
        child.stdout.readline()
        used = computed_by(child.pid)
        child.stdin.close()
    assert used is not None
    assert used >= 0.15
    assert computed_by(child.pid) is None, "it is gone"
