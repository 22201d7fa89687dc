"""A demo that was never trained: every number of it is known."""

from __future__ import annotations

import pytest

from hansa.core.ask import Outcome, Status
from hansa.core.history import FEDERATED, Entry, History
from hansa.core.metrics import ConfusionMatrix, Mean, Metrics
from hansa.demo.play import Measured, Played
from hansa.demo.scenario import GROUPS, OWNERS, Scenario

ROUNDS = 11


def measured(number: int, model: str, accuracy: float, loss: float = 1.25) -> Measured:
    return Measured(number, model, loss, accuracy, dict(zip(GROUPS, (0.5, 0.3125, 0.1875), strict=True)))


def trained(number: int) -> Entry:
    """A round of training: alice's loss is 1/round, bob's twice and charlie's three times as much."""
    outcomes = {
        owner: Outcome(Status.UPDATED, weight=32.0, metrics=Metrics({"loss": Mean.of(factor / number)}))
        for factor, owner in enumerate(OWNERS, start=1)
    }
    return Entry(number, "train", number - 1, {}, Metrics(), outcomes)


@pytest.fixture(scope="session")
def entry() -> Entry:
    """An evaluation of ten examples of three classes each: 0 is taken for 0, 4 for 5 and 9 for 0 or 9."""
    counts = [[0] * 10 for _ in range(10)]
    counts[0][0], counts[4][5], counts[9][0], counts[9][9] = 10, 10, 4, 6
    metrics: dict[str, Mean | ConfusionMatrix] = {
        "loss": Mean.of(0.75, 30),
        "accuracy": Mean.share(16, 30),
        "confusion": ConfusionMatrix(tuple(map(tuple, counts))),
    }
    return Entry(7, "evaluate", 7, {"model": "bob"}, Metrics(metrics), {})


@pytest.fixture(scope="session")
def played() -> Played:
    """Eleven rounds with seed 3."""
    models = (*OWNERS, FEDERATED)
    evaluations = tuple(
        measured(number, model, accuracy=base + place / 100)
        for number, base in ((1, 0.111), (11, 0.811))
        for place, model in enumerate(models)
    )
    history = History(
        tuple(trained(number) for number in range(1, ROUNDS + 1)),
        rounds=ROUNDS,
        seed=3,
        environment={"python": "3.<b>11</b>", "threads": "1"},
    )
    alone = {owner: measured(ROUNDS, FEDERATED, 0.201 + place / 100) for place, owner in enumerate(OWNERS)}
    pooled = measured(ROUNDS, FEDERATED, 0.907, loss=0.3)
    return Played(Scenario("digits", ROUNDS, 3), history, evaluations, alone, pooled, 12.3456)
