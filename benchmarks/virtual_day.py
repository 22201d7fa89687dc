"""`python -m benchmarks.virtual_day`: a thousand devices for 24 virtual hours, each there for half of the day.

The bar: at least 24,000 visits in less than 60 seconds of this machine's time, and the same events whenever it is repeated.
The floor: what the training alone takes, the same number of visits one after the other without any clock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hansa.algorithms import FedAvg
from hansa.algorithms.fedbuff import FedBuff
from hansa.core.ask import Closing, FederatedAlgorithm
from hansa.core.history import History
from hansa.core.keys import key
from hansa.core.sampling import UniformSampler
from hansa.core.work import ClientContext, visit_key
from hansa.data import ClientDataset, FederatedData
from hansa.data.partition import IID
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models.numpy import NumpyMLP
from hansa.simulation.availability import Diurnal
from hansa.simulation.choice import Fused
from hansa.simulation.clock import VirtualClock
from hansa.simulation.devices import LogNormal, Network, Speeds
from hansa.training import LocalTraining
from hansa.training.optimizers import SGD

DEVICES, HOURS, VISITS, BAR = 1000, 24, 24_000, 60.0
MODEL = NumpyMLP((8, 16, 2))
LOCAL = LocalTraining(MODEL, SGD(0.05), batch_size=10, epochs=1)
CLOCK = VirtualClock(
    compute=Speeds(median=80.0, sigma=1.0, slow=0.1),
    network=Network(down=LogNormal(1e5), up=LogNormal(2e4), latency=0.2),
    availability=Diurnal(share=0.5),
    dropout=0.02,
    at_least=120,
)


@dataclass(frozen=True)
class UntilEvening:
    """Another algorithm that ends when a virtual day is over.

    Its own rounds are more than a day has; what is left when time is over is not asked.
    """

    inner: Any
    over: Callable[[], bool]

    @property
    def works(self) -> Mapping[str, Any]:
        return dict(self.inner.works)

    def start(self, params: Any, seed: int) -> Any:
        return self.inner.start(params, seed)

    def ask(self, state: Any, population: Any) -> Any:
        return None if self.over() else self.inner.ask(state, population)

    def tell(self, state: Any, reply: Any) -> Any:
        return self.inner.tell(state, reply)

    def params(self, state: Any) -> Any:
        return self.inner.params(state)

    def round(self, state: Any) -> int:
        return int(self.inner.round(state))


def data() -> FederatedData:
    x = np.random.default_rng(0).normal(size=(20 * DEVICES, 8)).astype(np.float32)
    return FederatedData.partition(ClientDataset({"x": x, "y": (x.sum(axis=1) > 0).astype(np.int64)}), IID(DEVICES))


def algorithms() -> dict[str, FederatedAlgorithm[Any]]:
    return {
        "FedBuff, 60 at work, 10 a step": FedBuff(LOCAL, 10**6, goal=10, concurrency=60),
        "FedAvg, the first 100 of 120": FedAvg(
            LOCAL, 10**6, sampler=UniformSampler(120), closing=Closing.quorum(100, grace=0.0)
        ),
    }


def day(algorithm: FederatedAlgorithm[Any], hours: float) -> tuple[float, float, History]:
    """(seconds, seconds of processors, the History) of so many virtual hours."""
    passed = 0.0

    def over() -> bool:
        return passed >= hours * 3600

    class Watch:
        def started(self, run: Any) -> None: ...

        def entry(self, run: Any, entry: Any) -> None:  # noqa: ARG002 - the port's signature
            nonlocal passed
            passed += entry.seconds

        def ended(self, run: Any) -> None: ...

    experiment = Experiment(MODEL, UntilEvening(algorithm, over))
    began, busy = time.perf_counter(), time.process_time()
    run = Federation.simulate(data(), clock=CLOCK, executor=Fused()).run(experiment, callbacks=[Watch()])
    return time.perf_counter() - began, time.process_time() - busy, run.history


def floor(visits: int) -> float:
    """Seconds of a processor for so many visits of this training alone."""
    held, model = data(), MODEL.init(key(0))
    shards = [held.shard(client) for client in held.clients]
    began = time.process_time()
    for visit in range(visits):
        client = held.clients[visit % DEVICES]
        LOCAL(model, ClientContext(client, shards[visit % DEVICES], 1, visit_key(0, client, 1, "train", visit)))
    return time.process_time() - began


def digest(history: History) -> str:
    """Of all events and the model."""
    entries = json.dumps([entry.to_json() for entry in history.entries], sort_keys=True).encode()
    return hashlib.sha256(entries + b"".join(leaf.tobytes() for leaf in history.model.values())).hexdigest()[:12]


def run(hours: float = HOURS) -> list[dict[str, Any]]:
    rows = []
    for name, algorithm in algorithms().items():
        seconds, busy, history = day(algorithm, hours)
        visits = sum(len(entry.outcomes) for entry in history.entries)
        computed = sum(outcome.status != "dropped" for entry in history.entries for outcome in entry.outcomes.values())
        again = digest(day(algorithm, hours)[2]) if hours == HOURS else digest(history)
        rows.append(
            {
                "algorithm": name,
                "virtual hours": f"{sum(entry.seconds for entry in history.entries) / 3600:.1f}",
                "steps": history.rounds,
                "visits": visits,
                "computed": computed,
                "seconds": f"{seconds:.1f}",
                "of processors": f"{busy:.1f}",
                "of them the training alone": f"{floor(computed):.1f}",
                "wasted": f"{history.wasted().share:.1%}",
                "events": digest(history),
                "again": "the same" if again == digest(history) else "DIFFERENT",
            }
        )
    return rows


def main() -> None:
    from benchmarks.__main__ import table

    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual_day", description=__doc__)
    parser.add_argument("--hours", type=float, default=HOURS, help=f"virtual hours; {HOURS} unless given")
    hours = parser.parse_args().hours
    rows = run(hours)
    print(table(rows))
    met = all(
        float(row["seconds"]) < BAR and row["visits"] >= VISITS * hours / HOURS and row["again"] == "the same"
        for row in rows
    )
    print(
        f"\nbar: {VISITS:,} visits of {HOURS} hours in less than {BAR:.0f} s, the same events: {'met' if met else 'MISSED'}"
    )
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
