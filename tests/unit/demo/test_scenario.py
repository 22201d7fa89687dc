"""What the demo runs: who holds what, who trains, and when it is measured."""

from __future__ import annotations

import pytest

from hansa.algorithms import Evaluated, FedAvg
from hansa.core.population import Population
from hansa.demo.play import holdings
from hansa.demo.scenario import DATASETS, EVALUATOR, GROUPS, OWNERS, Scenario
from hansa.experiment import Experiment


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario("digits", rounds=2, seed=0)


@pytest.mark.parametrize(
    ("rounds", "reported"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (10, (1, 10)),
        (11, (1, 11)),
        (12, (1, 11, 12)),
        (31, (1, 11, 21, 31)),
        (40, (1, 11, 21, 31, 40)),
    ],
)
def test_models_are_measured_every_ten_rounds_and_at_the_end(rounds: int, reported: tuple[int, ...]) -> None:
    assert Scenario(rounds=rounds).reported == reported


def test_the_groups_are_the_owners_and_together_all_ten_classes() -> None:
    assert GROUPS == {"0-3": (0, 1, 2, 3), "4-6": (4, 5, 6), "7-9": (7, 8, 9)}
    assert sorted(label for held in OWNERS.values() for label in held) == list(range(10))
    assert DATASETS[0] == "digits"


def test_every_training_example_has_exactly_one_owner_who_holds_only_its_own_digits(scenario: Scenario) -> None:
    assert sum(scenario.data.sizes("train").values()) == len(scenario.source.train)
    for owner, labels in OWNERS.items():
        assert set(scenario.data[owner]["y"].tolist()) == set(labels)


def test_the_evaluator_holds_the_test_data_and_nothing_to_train_on(scenario: Scenario) -> None:
    assert EVALUATOR not in scenario.data
    assert list(scenario.data.test) == [EVALUATOR]
    assert len(scenario.data.test[EVALUATOR]) == len(scenario.source.test)


def test_holdings_count_every_class_that_a_participant_has(scenario: Scenario) -> None:
    counted = holdings(scenario)
    assert list(counted) == ["alice", "bob", "charlie", "testing"]
    assert counted["bob"] == {"4": 145, "5": 146, "6": 145}
    assert counted["testing"].keys() == set("0123456789")
    assert {name: sum(counts.values()) for name, counts in counted.items()} == {
        "alice": 576,
        "bob": 436,
        "charlie": 426,
        "testing": 359,
    }


def averaging(experiment: Experiment) -> FedAvg:
    assert isinstance(experiment.algorithm, Evaluated)
    assert isinstance(experiment.algorithm.inner, FedAvg)
    return experiment.algorithm.inner


def test_the_federation_averages_its_three_owners_alike(scenario: Scenario) -> None:
    fedavg = averaging(scenario.federated())
    everyone = Population(
        tuple(scenario.data.clients), {split: scenario.data.sizes(split) for split in ("train", "test")}
    )
    state = fedavg.start({}, 0)
    ask = fedavg.ask(state, everyone)
    assert ask is not None
    assert ask.cohort == ("alice", "bob", "charlie")
    assert (fedavg.rounds, fedavg.weighted) == (2, False)


def test_alone_an_owner_trains_as_it_does_in_the_federation_and_sees_nobody_elses_data(scenario: Scenario) -> None:
    for owner in OWNERS:
        experiment, data = scenario.alone(owner)
        assert averaging(experiment).local == averaging(scenario.federated()).local
        assert (experiment.model, experiment.seed) == (scenario.model, scenario.seed)
        assert list(data) == [owner]
        assert len(data[owner]) == len(scenario.data[owner])
        assert list(data.test) == [EVALUATOR]


def test_pooled_somebody_trains_in_the_same_way_on_everyones_data(scenario: Scenario) -> None:
    experiment, data = scenario.pooled()
    assert averaging(experiment).local == averaging(scenario.federated()).local
    assert len(data) == 1
    assert data.sizes("train") == {"pooled": len(scenario.source.train)}
