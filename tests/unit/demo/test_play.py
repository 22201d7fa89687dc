"""Playing the demo tells its listener everything, in order, and asks only the clock that it was given for the time."""

from __future__ import annotations

from itertools import count

import pytest

from hansa.demo.play import Measured, Played, play
from hansa.demo.scenario import Scenario


class Notes:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, object]] = []

    def begins(self, part: str, rounds: int) -> None:
        self.told.append(("begins", part, rounds))

    def round_done(self, part: str, completed: int) -> None:
        self.told.append(("round", part, completed))

    def measured(self, part: str, measured: Measured) -> None:
        self.told.append(("measured", part, measured.model))


@pytest.fixture(scope="module")
def notes() -> Notes:
    return Notes()


@pytest.fixture(scope="module")
def played(notes: Notes) -> Played:
    clock = count(100, step=7)
    return play(Scenario("digits", rounds=1), notes, lambda: float(next(clock)))


def test_the_listener_hears_of_every_part_round_and_measurement_in_order(notes: Notes, played: Played) -> None:
    federation: list[tuple[str, str, object]] = [("begins", "federated", 1), ("round", "federated", 1)]
    federation += [("measured", "federated", model) for model in ("alice", "bob", "charlie", "federated")]
    assert notes.told[:6] == federation
    assert notes.told[6:] == [
        told
        for part in ("alice", "bob", "charlie", "pooled")
        for told in (("begins", part, 1), ("round", part, 1), ("measured", part, "federated"))
    ]
    assert played.history.rounds == 1


def test_the_time_is_that_of_the_clock(played: Played) -> None:
    assert played.seconds == 7


def test_after_one_round_an_owner_alone_is_where_its_own_model_was_in_the_federation(played: Played) -> None:
    # Both began with the same model and saw the same batches; only the averaging came between them.
    own = {each.model: each.accuracy for each in played.evaluations}
    assert {owner: measured.accuracy for owner, measured in played.alone.items()} == {
        owner: own[owner] for owner in played.alone
    }
