"""Ten million clients are asked without listing them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from hansa.core.ids import Numbered, union
from hansa.core.keys import key
from hansa.core.population import LazySizes, Population
from hansa.core.sampling import AllClients, FixedClients, UniformSampler, WeightedSampler
from hansa.errors import ConfigError, UnknownName

MANY = 10_000_000
IDS = Numbered(MANY)

# What key(7, "cohort", 1) drew before ids were lazy.
OF_A_THOUSAND = ("878", "177", "152", "244", "93")
OF_TEN_MILLION = ("8791795", "1779373", "1527761", "2447938", "934574")


def refuse(client: str) -> int:
    raise AssertionError(f"loaded {client}")


EVERYONE = Population(IDS, {"train": LazySizes(IDS, refuse), "test": {"17": 5, "central": 9}})


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_a_cohort_of_ten_million_takes_the_memory_of_a_cohort_and_loads_nobody() -> None:
    def ask() -> None:
        free = EVERYONE.without({"5", "999", "stranger"}).holding("train")
        assert len(free) == MANY - 2
        chosen = UniformSampler(1_000).sample(free, key(0))
        assert len(set(chosen)) == 1_000
        assert all(client in IDS for client in chosen)

    ask()  # what is imported and remembered the first time
    assert peak(ask) < 2**20


def test_the_draws_of_a_population_do_not_depend_on_how_it_is_kept() -> None:
    assert UniformSampler(5).sample(Population(Numbered(1_000)), key(7, "cohort", 1)) == OF_A_THOUSAND
    assert UniformSampler(5).sample(Population(tuple(Numbered(1_000))), key(7, "cohort", 1)) == OF_A_THOUSAND
    assert UniformSampler(5).sample(EVERYONE.holding("train"), key(7, "cohort", 1)) == OF_TEN_MILLION


def test_few_holders_are_found_from_their_own_list() -> None:
    assert EVERYONE.holding("test").ids == ("17",)
    both = Population(union(IDS, ("17", "central")), EVERYONE.examples)
    assert both.holding("test").ids == ("17", "central")
    assert both.without({"17"}).holding("test").ids == ("central",)
    assert both.holding("train").ids is IDS
    assert len(both.without({"central", "3"}).holding("train")) == MANY - 1
    assert both.holding("valid").ids == ()


def test_sizes_are_found_when_they_are_asked_for() -> None:
    looked: list[str] = []

    def find(client: str) -> int:
        looked.append(client)
        return 4

    sizes = LazySizes(IDS, find)
    population = Population(IDS, {"train": sizes})
    assert population.held("12") == 4
    assert population.held("stranger") == 0
    assert "13" in sizes
    assert "stranger" not in sizes
    assert len(sizes) == MANY
    assert looked == ["12"]
    with pytest.raises(KeyError):
        sizes["stranger"]
    assert repr(sizes) == "LazySizes of 10,000,000 clients"


def test_a_sampler_that_needs_sizes_says_so() -> None:
    with pytest.raises(ConfigError, match="must know how many examples each of 10,000,000 clients holds") as caught:
        WeightedSampler(3).sample(EVERYONE, key(0))
    assert "UniformSampler" in caught.value.hint


def test_other_samplers() -> None:
    assert FixedClients(["9999999", "3"]).sample(EVERYONE, key(0)) == ("9999999", "3")
    with pytest.raises(UnknownName, match="no client '10000000'"):
        FixedClients(["10000000"]).sample(EVERYONE, key(0))
    assert AllClients().sample(Population(Numbered(3)), key(0)) == ("0", "1", "2")
    assert len(UniformSampler(fraction=1e-6).sample(EVERYONE, key(0))) == 10


@pytest.mark.parametrize("id", ["-1", "01", "1_0", "+1", " 1", "١", "", "1" * 5000, 1, None, "10000000", "1.0"])
def test_a_numbered_id_is_a_number_as_python_writes_it(id: object) -> None:  # noqa: A002 - what it is
    assert id not in IDS


def test_numbered_ids_that_make_no_sense_and_how_they_look() -> None:
    for numbers in (-1, range(-3, 3)):
        with pytest.raises(ConfigError, match=r"cannot be -1 clients|numbered from 0"):
            Numbered(numbers)
    assert repr(IDS) == "Numbered(10,000,000: 0, 1, 2, ...)"
    assert repr(Numbered(0)) == "Numbered(0: )"
    assert IDS[5:8] == ("5", "6", "7")
    assert len(IDS[: MANY // 2]) == MANY // 2
    with pytest.raises(UnknownName, match="no client 'x'"):
        IDS.index("x")
