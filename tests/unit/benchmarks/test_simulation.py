"""The pure parts of the simulation benchmarks: sizes, ratios, tables. What they measure is nobody's assertion."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`benchmarks` is no part of the installed package."""
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def _module(name: str) -> Any:
    return importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("name", ["emnist-cnn", "mlp-100", "mlp-1000", "cifar10-10", "cifar10-100", "shakespeare"])
def test_clients_hold_as_much_as_the_table_says(name: str) -> None:
    workload = _module("simulation.workloads").WORKLOADS[name]
    sizes = workload.sizes
    assert len(sizes) == workload.clients
    assert workload.least <= sizes.min() <= sizes.max() <= workload.most
    assert sizes.mean() == pytest.approx(workload.mean, rel=0.01)
    assert [len(workload.rows(client)) for client in range(3)] == sizes[:3].tolist()


def test_a_partition_of_the_pool_leaves_nothing_out_and_nothing_twice() -> None:
    workload = _module("simulation.workloads").WORKLOADS["cifar10-10"]
    rows = np.concatenate([workload.rows(client) for client in range(workload.clients)])
    assert sorted(rows) == list(range(workload.pool))


def test_the_cohort_is_the_one_that_the_sampler_draws() -> None:
    import hansa
    from hansa.core.keys import key
    from hansa.core.population import Population

    workloads, prepared = _module("simulation.workloads"), _module("simulation.prepared")
    workload = workloads.WORKLOADS["mlp-100"]
    everyone = Population(tuple(map(workloads.client_id, range(workload.clients))))
    sampled = hansa.UniformSampler(workload.cohort).sample(everyone, key(workloads.SEED, "cohort", 3))
    assert tuple(map(workloads.client_id, prepared.cohort(workload)(3))) == sampled


def test_a_ratio_is_taken_round_by_round_against_the_fastest_of_several() -> None:
    ratios = _module("simulation.ratios")
    seconds = {"ours": [2.0, 8.0, 3.0], "slow": [9.0, 9.0, 9.0], "fast": [1.0, 4.0, 2.0]}
    found = ratios.ratio(ratios.Bar("ours", ("slow", "fast"), most=1.9), seconds)
    assert (found.against, found.rounds, found.reached) == ("fast", (2.0, 2.0, 1.5), False)
    assert found.to_json() == {
        "what": "ours",
        "against": "fast",
        "median": 2.0,
        "lowest": 1.5,
        "highest": 2.0,
        "bar": "≤ 1.9",
        "reached": "NO",
    }


def test_a_bar_may_ask_for_at_least_or_for_nothing() -> None:
    ratios = _module("simulation.ratios")
    seconds = {"one": [3.0, 3.0], "two": [2.0, 1.5]}
    at_least = ratios.ratio(ratios.Bar("one", ("two",), least=1.7), seconds)
    reported = ratios.ratio(ratios.Bar("one", ("two",)), seconds)
    assert (at_least.bar, at_least.reached) == ("≥ 1.7", True)
    assert (reported.bar, reported.reached, reported.to_json()["reached"]) == ("", None, "")


@pytest.mark.parametrize("seconds", [{}, {"ours": [1.0]}, {"ours": [], "theirs": [1.0]}, {"ours": [1.0], "theirs": []}])
def test_there_is_no_ratio_to_what_did_not_run(seconds: dict[str, list[float]]) -> None:
    ratios = _module("simulation.ratios")
    assert ratios.ratio(ratios.Bar("ours", ("theirs",), most=1), seconds) is None


def test_figures_go_to_their_roles_and_say_why_one_has_none() -> None:
    measure, racing = _module("simulation.measure"), _module("simulation.racing")

    def contestant(name: str, role: str) -> Any:
        return racing.Contestant(name, (), lambda _round: (), role)

    ran = measure.Figures(
        contestant("ours", "ours"), racing.Alone(1.0, 2.0, 30.4), racing.Raced([0.5, 0.25, 1.0]), 1e-6
    )
    failed = measure.Figures(contestant("theirs", "peers"), None, racing.Raced(failed="no\nmodule"), math.nan)
    measured = measure.Measured([ran, failed], [])
    found = measured.to_json()
    assert [row["name"] for row in found["ours"]] == ["ours"]
    assert {name: found["ours"][0][name] for name in ("median", "min", "max", "first_round", "peak_mb")} == {
        "median": 0.5,
        "min": 0.25,
        "max": 1.0,
        "first_round": 2.0,
        "peak_mb": 30,
    }
    assert (found["peers"][0]["median"], found["peers"][0]["failed"], found["floors"]) == (None, "no\nmodule", [])
    table = _module("__main__").table(measured.tables()[0])
    assert len(table.splitlines()) == 4  # a failure's lines do not break the table


def test_every_workload_of_the_command_has_a_lineup() -> None:
    command, lineup = _module("__main__"), _module("simulation.lineup")
    assert {*command.TRAINED, "overhead", "broadcast", "scaling"} <= lineup.LINEUPS.keys()
