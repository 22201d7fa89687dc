"""Samplers are pure, choose nobody twice, and say when there are too few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from hansa.core.keys import key
from hansa.core.population import Population
from hansa.core.sampling import AllClients, ClientSampler, FixedClients, UniformSampler, WeightedSampler
from hansa.errors import CohortTooLarge, ConfigError, UnknownName

IDS = tuple(f"client{n}" for n in range(10))
POPULATION = Population(IDS, {"train": {client: n for n, client in enumerate(IDS)}, "test": {"client3": 5}})
SAMPLERS: list[ClientSampler] = [
    AllClients(),
    UniformSampler(4),
    UniformSampler(fraction=0.3),
    FixedClients(["client7", "client2"]),
    WeightedSampler(4),
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_a_sampler_is_a_pure_function_that_chooses_nobody_twice(sampler: ClientSampler) -> None:
    for seed in range(20):
        chosen = sampler.sample(POPULATION, key(seed))
        assert sampler.sample(POPULATION, key(seed)) == chosen
        assert len(set(chosen)) == len(chosen)
        assert set(chosen) <= set(IDS)


@pytest.mark.parametrize("sampler", [UniformSampler(4), WeightedSampler(4)], ids=repr)
def test_random_samplers_choose_others_for_other_keys(sampler: ClientSampler) -> None:
    assert len({sampler.sample(POPULATION, key(seed)) for seed in range(20)}) > 10


def test_everyone_is_chosen_in_the_population_s_order() -> None:
    assert AllClients().sample(POPULATION, key(0)) == IDS


def test_fixed_clients_are_chosen_in_their_own_order() -> None:
    assert FixedClients(["client7", "client2"]).sample(POPULATION, key(0)) == ("client7", "client2")


@pytest.mark.parametrize(
    ("fraction", "of", "size"), [(0.3, 10, 3), (0.25, 10, 2), (0.01, 10, 1), (1.0, 10, 10), (0.5, 5, 2)]
)
def test_a_fraction_is_rounded_but_never_to_nobody(fraction: float, of: int, size: int) -> None:
    assert len(UniformSampler(fraction=fraction).sample(Population(IDS[:of]), key(0))) == size
    assert len(UniformSampler(4, fraction=fraction).sample(Population(IDS[:of]), key(0))) == max(size, 4)


def test_everyone_is_equally_likely_in_a_uniform_sample() -> None:
    seen = Counter(client for n in range(1000) for client in UniformSampler(3).sample(POPULATION, key(0, n)))
    assert set(seen) == set(IDS)
    assert all(abs(count - 300) < 75 for count in seen.values())  # five standard deviations


def test_those_with_more_examples_are_more_likely_in_a_weighted_sample() -> None:
    seen = Counter(WeightedSampler(1).sample(POPULATION, key(0, n))[0] for n in range(1800))
    assert "client0" not in seen, "who holds nothing is never chosen"
    for n in range(1, 10):
        assert abs(seen[f"client{n}"] - 1800 * n / 45) < 90
    assert {WeightedSampler(1, split="test").sample(POPULATION, key(0, n)) for n in range(5)} == {("client3",)}


@pytest.mark.parametrize(
    ("sampler", "population", "said"),
    [
        (UniformSampler(11), POPULATION, "a cohort of 11 is asked for, but only 10"),
        (WeightedSampler(10), POPULATION, "a cohort of 10 is asked for, but only 9"),
        (AllClients(), Population(()), "a cohort of 1 is asked for, but only 0"),
        (UniformSampler(fraction=0.5), Population(()), "a cohort of 1 is asked for, but only 0"),
    ],
)
def test_more_than_there_are_is_too_many(sampler: ClientSampler, population: Population, said: str) -> None:
    with pytest.raises(CohortTooLarge, match=said) as caught:
        sampler.sample(population, key(0))
    assert "what to do: ask for fewer clients a round" in str(caught.value)


def test_a_fixed_client_that_is_not_there_is_named_with_those_near_it() -> None:
    with pytest.raises(UnknownName, match="no client 'cleint3'") as caught:
        FixedClients(["client1", "cleint3"]).sample(POPULATION, key(0))
    assert "client3" in caught.value.hint


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: UniformSampler(0), "at least one client, not 0"),
        (lambda: UniformSampler(fraction=0.0), r"lies in \(0, 1\], not 0.0"),
        (lambda: UniformSampler(fraction=1.5), r"lies in \(0, 1\], not 1.5"),
        (lambda: WeightedSampler(0), "at least one client, not 0"),
        (lambda: FixedClients([]), "at least one"),
        (lambda: FixedClients(["a", "a"]), "each of its clients once"),
    ],
)
def test_samplers_that_make_no_sense_are_refused(make: Callable[[], ClientSampler], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        make()


def test_a_population_knows_who_holds_what_and_who_is_busy() -> None:
    assert POPULATION.holding("train").ids == IDS[1:]
    assert POPULATION.holding("test").ids == ("client3",)
    assert POPULATION.holding("valid").ids == ()
    assert POPULATION.without({"client1", "stranger"}).ids == (IDS[0], *IDS[2:])
    assert POPULATION.without({"client3"}).holding("test").ids == ()
    assert len(POPULATION.without(())) == 10
