"""An algorithm that finds too few clients waits for more, and ends where nobody is to be expected."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from hansa.algorithms import FedAvg
from hansa.core.population import Population
from hansa.core.sampling import UniformSampler
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import CohortTooLarge
from hansa.runtime.patient import Patient


@dataclass(frozen=True)
class Nothing:
    """Trains nothing."""

    buffers: frozenset[str] = field(default_factory=frozenset)

    def __call__(self, broadcast: Tree, _: ClientContext) -> Update:
        return Update(dict(broadcast))


def seen(*ids: str) -> Population:
    return Population(ids, {"train": dict.fromkeys(ids, 1)})


def test_it_asks_when_there_are_enough() -> None:
    grown, told = iter([seen("a", "b"), seen("a", "b", "c")]), list[int]()

    def more(population: Population) -> Population:
        told.append(len(population))
        return next(grown)

    patient = Patient(FedAvg(Nothing(), rounds=1, sampler=UniformSampler(3)), more)
    ask = patient.ask(patient.start({"w": np.zeros(1)}, 0), seen("a"))
    assert ask is not None
    assert sorted(ask.cohort) == ["a", "b", "c"]
    assert told == [1, 2]


def test_where_nobody_is_to_be_expected_it_ends_as_the_algorithm_does() -> None:
    patient = Patient(FedAvg(Nothing(), rounds=1, sampler=UniformSampler(3)), lambda _population: None)
    with pytest.raises(CohortTooLarge):
        patient.ask(patient.start({"w": np.zeros(1)}, 0), seen("a"))
