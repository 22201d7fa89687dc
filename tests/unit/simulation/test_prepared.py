"""Data that are read when they are asked for are read ahead, where a work looks at them; their errors are the work's."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import hansa
from hansa.core.ask import Ask, Closing, Status
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.rules import WeightedMean
from hansa.simulation.fused import FusedExecutor

ALL = Closing.all()
FORM: Tree = {"w": np.zeros(2, np.float32)}


class Sensors:
    """A function that makes data, and remembers for whom and in which thread."""

    def __init__(self, broken: int = -1) -> None:
        self.made: list[tuple[int, str]] = []
        self.broken = broken

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        self.made.append((number, threading.current_thread().name))
        if number == self.broken:
            raise OSError("the disk is gone")
        return {"x": np.full((2, 1), number, np.float32)}


def looks(given: Tree, context: ClientContext) -> Update:
    return Update({"w": given["w"] + context.data["train"]["x"][0, 0]})


def does_not_look(given: Tree, context: ClientContext) -> Update:
    return Update({"w": given["w"] + 1})


def run(work: object, sensors: Sensors, cohort: range, closing: Closing = ALL) -> hansa.Reply:
    data = hansa.FederatedData.generated(sensors, clients=1_000_000)
    executor = FusedExecutor({"train": work}, data, 0)  # type: ignore[dict-item]  # a work
    sensors.made.clear()  # the schema was looked for
    ask = Ask("train", FORM, tuple(map(str, cohort)), WeightedMean(), 1, 0, closing=closing, form=FORM)
    return executor.execute(ask)


@pytest.fixture(autouse=True)
def _any_reading_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hansa.simulation.prepared.SLOW", 0.0)


def test_what_is_read_at_once_is_read_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hansa.simulation.prepared.SLOW", 1e9)
    sensors = Sensors()
    run(looks, sensors, range(10, 16))
    assert "hansa ahead" not in {thread for _, thread in sensors.made}


def test_the_next_clients_are_read_in_a_thread_and_it_ends() -> None:
    sensors = Sensors()
    reply = run(looks, sensors, range(10, 16))
    assert reply.aggregate["w"].tolist() == [12.5, 12.5]
    read = [(number, thread) for number, thread in sensors.made if number >= 10]
    assert [number for number, _ in read] == [10, 11, 12, 13, 14, 15]
    assert {thread for _, thread in read[1:]} == {"hansa ahead"}
    assert "hansa ahead" not in {thread.name for thread in threading.enumerate()}


def test_nothing_is_read_for_a_work_that_does_not_look() -> None:
    sensors = Sensors()
    assert run(does_not_look, sensors, range(10, 16)).aggregate["w"].tolist() == [1.0, 1.0]
    assert sensors.made == []


@pytest.mark.parametrize("broken", [10, 13])
def test_a_client_whose_data_cannot_be_read_fails_alone(broken: int) -> None:
    reply = run(looks, Sensors(broken), range(10, 16), Closing.quorum(1))
    failed = {client for client, outcome in reply.outcomes.items() if outcome.status is Status.FAILED}
    assert failed == {str(broken)}
    assert "the disk is gone" in reply.outcomes[str(broken)].why


def test_an_ask_that_ends_early_leaves_no_thread() -> None:
    reply = run(looks, Sensors(), range(10, 30), Closing.first(3))
    assert len(reply.outcomes) == 3
    assert "hansa ahead" not in {thread.name for thread in threading.enumerate()}
