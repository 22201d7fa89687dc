"""Semi-synchronous rounds: how many are asked, when a round is complete, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest

from hansa.algorithms.fedavg import FedAvg
from hansa.algorithms.semi_synchronous import semi_synchronous
from hansa.core.ask import Closing
from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import WeightedSampler
from hansa.errors import ConfigError
from hansa.models import NumpyMLP
from hansa.training import SGD, LocalTraining

MODEL = NumpyMLP((5, 3))
LOCAL = LocalTraining(MODEL, SGD(0.1), epochs=1)
MANY = Population(tuple(map(str, range(50))), {"train": {str(number): 9 for number in range(50)}})


def asked(algorithm: FedAvg) -> int:
    ask = algorithm.ask(algorithm.start(MODEL.init(key(0)), 0), MANY)
    assert ask is not None
    assert ask.closing == algorithm.closing
    return len(ask.cohort)


@pytest.mark.parametrize(
    ("cohort", "over", "expected"),
    [(10, 0.3, 13), (10, 0.1, 11), (10, 0.0, 10), (3, 0.3, 4), (7, 0.01, 8), (1, 2.0, 3)],
)
def test_more_clients_are_asked_than_are_needed(cohort: int, over: float, expected: int) -> None:
    algorithm = semi_synchronous(LOCAL, 5, cohort, over)
    assert asked(algorithm) == expected
    assert algorithm.closing == Closing.quorum(cohort, grace=0.0)


def test_with_a_deadline_everyone_in_time_counts() -> None:
    assert semi_synchronous(LOCAL, 5, 10, deadline=60.0).closing == Closing.quorum(10, 60.0)
    assert semi_synchronous(LOCAL, 5, 10, deadline=60.0, least=4).closing == Closing.quorum(4, 60.0)


def test_it_is_fedavg_with_all_that_fedavg_takes() -> None:
    algorithm = semi_synchronous(LOCAL, 5, 4, server=SGD(0.5), weighted=False, sampler=WeightedSampler)
    assert algorithm == FedAvg(
        LOCAL, 5, WeightedSampler(6), server=SGD(0.5), weighted=False, closing=Closing.quorum(4, grace=0.0)
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cohort": 0}, "a round needs at least one update, not 0"),
        ({"over": -0.1}, "the share of clients that are asked beyond the cohort is at least 0, not -0.1"),
        ({"over": float("inf")}, "the share of clients that are asked beyond the cohort is at least 0, not inf"),
        ({"deadline": 0.0}, "a deadline is a positive number of seconds, not 0.0"),
        ({"least": 3}, "least says how many updates are enough at the deadline, and there is none"),
        ({"least": 9, "deadline": 3.0}, "9 updates are to be enough at the deadline, and only 6 clients are asked"),
        ({"least": 0, "deadline": 3.0}, "an ask closes on at least one update, not 0"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        semi_synchronous(**{"local": LOCAL, "rounds": 5, "cohort": 4, **settings})
    assert error.value.what == said
