"""The simulation finds what is wrong: bugs that are planted on purpose, each within few schedules and for the right reason."""

from __future__ import annotations

import re

import pytest

from hansa.testing.world import mutants, mutants_of_time
from hansa.testing.world.checks import Violated
from hansa.testing.world.mutants import Mutant
from hansa.testing.world.world import World

MUTANTS = (*mutants.MUTANTS, *mutants_of_time.MUTANTS)

SCHEDULES = 300
"""By so many schedules each is found; fewer than `make test` plays."""


def found(mutant: Mutant) -> tuple[int, str] | None:
    """The first schedule in which a promise is broken, and which."""
    for seed in range(SCHEDULES):
        try:
            World(mutant.schedule(seed)).play()
        except Violated as broken:
            return seed, str(broken)
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    broken = found(mutant)
    assert broken is not None, f"{SCHEDULES} schedules do not find it"
    seed, why = broken
    assert re.search(mutant.found, why), f"schedule {seed} finds something else: {why:.300}"


def test_there_are_no_two_of_a_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
