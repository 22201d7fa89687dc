"""The executor that moves begins here, goes on elsewhere once that is worth it, and comes back where it was no gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from hansa.core.ask import Ask, Reply
from hansa.core.population import Population
from hansa.errors import ExperimentFileError
from hansa.rules import WeightedMean
from hansa.simulation import ExecutorState
from hansa.simulation.automatic import Automatic
from hansa.simulation.choice import Simulator


class Double:
    """An executor that takes as long as it is told, on a clock that it moves."""

    def __init__(self, name: str, seconds: float, clock: list[float]) -> None:
        self.name, self._seconds, self._clock = name, seconds, clock
        self.answered: Callable[[int, int], None] = lambda count, of: None
        self.asks, self.closed = 0, False
        self.state = ExecutorState((), {}, {})
        self.chosen: Mapping[str, str] = {"executor": name}

    def restore(self, state: ExecutorState) -> None:
        self.state = state

    def seconds(self) -> float:
        return self._clock[0]

    def population(self) -> Population:
        return Population(("a", "b"))

    def execute(self, ask: Ask) -> Reply:
        assert not self.closed
        self.asks += 1
        self.state = ExecutorState((*self.state.visits, ("a", ask.work, ask.round, 1)), {}, {})
        self._clock[0] += self._seconds
        return Reply({}, work=ask.work)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("hansa.simulation.automatic.time.perf_counter", lambda: now[0])
    return now


def ask(round_: int, cohort: tuple[str, ...] = ("a", "b")) -> Ask:
    return Ask("train", {}, cohort, WeightedMean(), round_, 0)


def moving(here: Double, there: Double, workers: int = 2) -> tuple[Automatic, list[str]]:
    opened: list[str] = []

    def open_() -> Simulator:
        opened.append(there.name)
        return there

    return Automatic(here, open_, workers), opened


def run(executor: Automatic, rounds: int, cohort: tuple[str, ...] = ("a", "b")) -> None:
    for round_ in range(1, rounds + 1):
        executor.execute(ask(round_, cohort))


def test_a_short_run_stays(clock: list[float]) -> None:
    here, there = Double("here", 0.1, clock), Double("there", 0.01, clock)
    executor, opened = moving(here, there)
    run(executor, 20)
    assert opened == []
    assert here.asks == 20


def test_a_long_run_moves_with_all_that_it_remembers(clock: list[float]) -> None:
    here, there = Double("here", 1.0, clock), Double("there", 0.5, clock)
    executor, opened = moving(here, there)
    heard: list[int] = []
    executor.answered = lambda count, of: heard.append(count)
    run(executor, 12)
    assert opened == ["there"]
    assert (here.asks, there.asks) == (4, 8)
    assert len(executor.state.visits) == 12
    there.answered(3, 4)
    assert heard == [3]
    assert executor.chosen == {"executor": "there"}
    executor.close()
    assert here.closed
    assert there.closed


def test_where_it_is_no_gain_it_comes_back_for_good(clock: list[float]) -> None:
    here, there = Double("here", 1.0, clock), Double("there", 1.5, clock)
    executor, _ = moving(here, there)
    run(executor, 12)
    assert (here.asks, there.asks) == (9, 3)
    assert there.closed
    assert not here.closed
    assert len(executor.state.visits) == 12
    assert executor.chosen == {"executor": "here", "processes": "they were no quicker"}


def test_a_cohort_smaller_than_the_workers_stays(clock: list[float]) -> None:
    here, there = Double("here", 5.0, clock), Double("there", 1.0, clock)
    executor, opened = moving(here, there)
    run(executor, 5, ("a",))
    assert opened == []


def test_clients_that_take_no_time_stay(clock: list[float]) -> None:
    here, there = Double("here", 0.4, clock), Double("there", 0.1, clock)
    executor, opened = moving(here, there)
    run(executor, 30, tuple(map(str, range(1000))))
    assert opened == []


def test_a_large_model_stays(clock: list[float]) -> None:
    here, there = Double("here", 5.0, clock), Double("there", 1.0, clock)
    executor, opened = moving(here, there)
    large = {"w": np.broadcast_to(np.float32(0), (9_000_000,))}
    for round_ in (1, 2, 3):
        executor.execute(replace(ask(round_), broadcast=large))
    assert opened == []


def test_where_there_is_no_source_it_stays_and_says_why(clock: list[float]) -> None:
    def refuse() -> Simulator:
        raise ExperimentFileError("there is no source to ship")

    here = Double("here", 5.0, clock)
    executor = Automatic(here, refuse, 2)
    run(executor, 3)
    assert here.asks == 3
    assert executor.chosen == {"executor": "here", "processes": "there is no source to ship"}
