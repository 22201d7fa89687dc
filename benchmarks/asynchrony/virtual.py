"""Time to accuracy by a virtual clock: MNIST over a hundred clients, FedAvg that waits for everyone against FedBuff.

The devices, the data, the model and the local training (SGD, the same rate for all) are those of examples/asynchronous_mnist.
Each contestant has the server rate that was best for it; see `RATES`. The model is measured after as many updates in each.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hansa
from hansa.experiment import load_experiment

EXAMPLE = Path(__file__).parents[2] / "examples" / "asynchronous_mnist" / "experiment.py"

GOOD = 0.95
RATES = (1.0, 1.5, 2.0, 2.5, 3.0)
"""The server rates that were tried for each contestant and kind of devices, with seed 100; `--tune` does it again."""

BARS = {("skewed", 10): 1 / 4, ("skewed", 30): 1 / 8, ("equal", 10): 1.1, ("equal", 30): 1.1}
"""Of FedBuff's virtual time by the synchronous one's, at most."""


@dataclass(frozen=True)
class Contestant:
    """An algorithm at a concurrency.

    Attributes:
        name: what tables call it.
        concurrency: how many clients work at once.
        goal: K of FedBuff; None for FedAvg, which waits for all.
        rates: of the server, where devices are skewed and where they are equal.
    """

    name: str
    concurrency: int
    goal: int | None
    rates: Mapping[str, float]

    def algorithm(self, local: Any, rate: float) -> Any:
        """At most as many updates as a hundred synchronous rounds and a half."""
        server, rounds = hansa.SGD(rate), 150
        if self.goal is None:
            return hansa.FedAvg(local, rounds, hansa.UniformSampler(self.concurrency), server=server)
        return hansa.FedBuff(local, rounds * self.every, self.goal, self.concurrency, server=server)

    @property
    def every(self) -> int:
        """Rounds between two evaluations, so that there is one for as many updates as work at once."""
        return 1 if self.goal is None else self.concurrency // self.goal


LINEUP = (
    Contestant("FedAvg, cohorts of 10", 10, None, {"skewed": 2.0, "equal": 2.0}),
    Contestant("FedBuff, K = 5 of 10", 10, 5, {"skewed": 2.0, "equal": 1.5}),
    Contestant("FedAvg, cohorts of 30", 30, None, {"skewed": 2.0, "equal": 2.5}),
    Contestant("FedBuff, K = 10 of 30", 30, 10, {"skewed": 2.0, "equal": 1.5}),
)


class Setting:
    """The example's data, model and training, for one seed.

    Args:
        seed: of the data, the devices and the experiment.
        spread: "skewed" for the example's devices, "equal" for alike ones.
    """

    def __init__(self, seed: int, spread: str) -> None:
        self._names, self._seed, self._spread = load_experiment(EXAMPLE).names, seed, spread
        clock = self._names["devices"](seed, **({} if spread == "skewed" else {"sigma": 0.0, "slow": 0}))
        data = self._names["data"](seed)
        self._federation = hansa.Federation.simulate(data, clock=clock, executor=hansa.Sequential())

    def run(self, contestant: Contestant, rate: float | None = None) -> hansa.History:
        """Until the model is good, or the rounds are over; with another rate of the server than its own, if that is given."""
        names, enough = self._names, hansa.Reached("max accuracy", GOOD)
        algorithm = contestant.algorithm(names["local"], contestant.rates[self._spread] if rate is None else rate)
        evaluated = hansa.Evaluated(algorithm, names["evaluation"], every=contestant.every)
        experiment = hansa.Experiment(names["model"], evaluated, seed=self._seed, stop=enough)
        history: hansa.History = self._federation.run(experiment, callbacks=[]).history
        return history


@dataclass(frozen=True)
class Reached:
    """What it took to be good: virtual seconds, bytes of arrays, and updates that counted. Infinite where it never was."""

    seconds: float
    traffic: float
    updates: int

    @classmethod
    def of(cls, history: hansa.History) -> Reached:
        """Of a run."""
        took = (history.reached("max accuracy", GOOD, over) for over in ("seconds", "bytes"))
        seconds, traffic = (math.inf if each is None else float(each) for each in took)
        return cls(seconds, traffic, sum(len(entry.outcomes) for entry in history.entries if entry.model is None))


def run(seeds: Sequence[int], pictures: Path | None = None) -> list[dict[str, Any]]:
    """A row for each contestant, devices skewed and alike; the curves of the first seed are drawn into `pictures`."""
    rows = []
    for spread in ("skewed", "equal"):
        found: dict[str, list[Reached]] = {each.name: [] for each in LINEUP}
        for seed in seeds:
            setting = Setting(seed, spread)
            histories = {each.name: setting.run(each) for each in LINEUP}
            for name, history in histories.items():
                found[name].append(Reached.of(history))
            if pictures is not None and seed == seeds[0] and spread == "skewed":
                drawn(histories, pictures)
        rows += [row(spread, each, found) for each in LINEUP]
    return rows


def row(spread: str, contestant: Contestant, found: dict[str, list[Reached]]) -> dict[str, Any]:
    """Medians over the seeds; ratios are taken seed by seed, against the synchronous one of the same concurrency."""
    mine = found[contestant.name]
    waiting = next(each for each in LINEUP if each.goal is None and each.concurrency == contestant.concurrency)
    ratios = [ours.seconds / theirs.seconds for ours, theirs in zip(mine, found[waiting.name], strict=True)]
    cells: dict[str, Any] = {
        "devices": spread,
        "name": contestant.name,
        "server rate": contestant.rates[spread],
        "virtual s": f"{statistics.median(each.seconds for each in mine):.0f}",
        "of single seeds": " ".join(f"{each.seconds:.0f}" for each in mine),
        "MB": f"{statistics.median(each.traffic for each in mine) / 1e6:.0f}",
        "updates": f"{statistics.median(each.updates for each in mine):.0f}",
        "ratio": f"{statistics.median(ratios):.3f}",
        "bar": "",
        "reached": "",
    }
    if contestant.goal is not None:
        bar = BARS[spread, contestant.concurrency]
        cells |= {"bar": f"≤ {bar:g}", "reached": "yes" if statistics.median(ratios) <= bar else "no"}
    return cells


def drawn(histories: dict[str, hansa.History], folder: Path) -> None:
    """The accuracy over virtual time and over bytes."""
    hansa.compare(histories, "accuracy", goal=GOOD).savefig(folder / "asynchrony.svg")


def tuned(spread: str, seed: int = 100) -> list[dict[str, Any]]:
    """Virtual seconds of each contestant by the server's rate, with a seed that is not one of the table's."""
    setting, rows = Setting(seed, spread), []
    for contestant in LINEUP:
        took = {rate: Reached.of(setting.run(contestant, rate)).seconds for rate in RATES}
        cells = {f"{rate:g}": f"{seconds:.0f}" for rate, seconds in took.items()}
        rows.append({"devices": spread, "name": contestant.name, **cells})
    return rows
