"""Thousands of schedules of a whole federation: whatever goes wrong, nothing is lost, counted twice or stuck.

`make test` plays the schedules 0 to 999; `HANSA_SCHEDULES=50000 pytest tests/protocol/test_simulation.py` plays more, and
`HANSA_SEED=17 pytest tests/protocol/test_simulation.py` plays one and prints what happened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from hansa.protocol import jobs, running, tasks
from hansa.testing.world.checks import Violated
from hansa.testing.world.pairs import ALL, IMPOSSIBLE, UNKNOWN
from hansa.testing.world.plan import drawn
from hansa.testing.world.world import World

SCHEDULES = int(os.environ.get("HANSA_SCHEDULES", "1000"))
CHUNKS = 20
ONE = os.environ.get("HANSA_SEED")
LINES = 60
RARE = (9, 17, 36, 46, 144, 167, 203, 250, 259, 270, 285, 364, 470, 564, 628, 958, 1058, 1230, 1300, 1797, 2004, 6862)
"""Schedules that visit all pairs together; the others are played only where these are not enough any more."""


def play(seed: int) -> World:
    """One schedule; where a promise is broken, it is played again and told."""
    world = World(drawn(seed))
    try:
        world.play()
    except Exception as problem:
        again = World(drawn(seed), tracing=True)
        with pytest.raises(type(problem)):
            again.play()
        told = "\n".join(again.lines[-LINES:])
        command = f"HANSA_SEED={seed} pytest tests/protocol/test_simulation.py"
        raise Violated(f"{told}\n\nschedule {seed}: {problem!r}\nplay it again: {command}") from problem
    return world


@pytest.mark.skipif(ONE is not None, reason="one schedule is asked for")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_schedule_keeps_every_promise(chunk: int) -> None:
    for seed in range(chunk, SCHEDULES, CHUNKS):
        impossible = {pair: IMPOSSIBLE[pair] for pair in play(seed).checks.pairs if pair in IMPOSSIBLE}
        assert not impossible, f"schedule {seed} visits what is said to be impossible"


@pytest.mark.skipif(ONE is not None, reason="one schedule is asked for")
def test_the_schedules_visit_every_pair_that_is_possible() -> None:
    missing = set(ALL - IMPOSSIBLE.keys())
    for seed in (*RARE, *(seed for seed in range(2000) if seed not in RARE)):
        missing -= play(seed).checks.pairs
        if not missing:
            break
    assert not missing


def test_what_is_impossible_is_a_pair() -> None:
    assert IMPOSSIBLE.keys() <= ALL
    assert {("run", phase.value, event.__name__) for phase, event in running.TABLE} <= ALL


@pytest.mark.parametrize(("name", "table"), [("job", jobs.TABLE), ("task", tasks.TABLE)])
def test_what_the_tables_of_an_envoy_name_is_possible(name: str, table: Mapping[tuple[Any, type], Any]) -> None:
    named = {(name, phase.value if phase else UNKNOWN, event.__name__) for phase, event in table}
    assert named <= ALL - IMPOSSIBLE.keys()


def test_a_schedule_is_the_same_each_time() -> None:
    first, second = (World(drawn(7), tracing=True) for _ in range(2))
    first.play()
    second.play()
    assert first.lines == second.lines


@pytest.mark.skipif(ONE is None, reason="HANSA_SEED names no schedule")
def test_this_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(drawn(int(ONE or 0)), tracing=True)
    try:
        world.play()
    finally:
        with capsys.disabled():
            print("\n" + "\n".join(world.lines))  # noqa: T201 - it was asked for
