"""examples/writers: the hundreds of clients that a few Envoys host are the simulator's, and so are their cohorts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "writers"


def test_two_schools_for_real_train_the_simulators_model_in_other_cohorts_each_round(
    copied: Copied, real_data: Path
) -> None:
    copied.change("experiment.py", {"ROUNDS, EVERY, COHORT = 50, 5, 20": "ROUNDS, EVERY, COHORT = 4, 4, 5"})
    copied.change("owners.toml", {"count = 3": "count = 2", "schools = 3": "schools = 2, writers = 12"})
    history = copied.same_bits(HANSA_DATA=str(real_data))
    cohorts = [set(entry.outcomes) for entry in history.entries if entry.work == "train"]
    assert [len(cohort) for cohort in cohorts] == [5] * 4
    assert cohorts[0] != cohorts[1]
    assert {client.partition("/")[0] for cohort in cohorts for client in cohort} == {"school-1", "school-2"}
    evaluators = {client for entry in history.evaluations() for client in entry.outcomes}
    assert evaluators == {"school-1/newcomers", "school-2/newcomers"}
    assert history.final("accuracy") > history.series("accuracy")[0][1] + 0.1
