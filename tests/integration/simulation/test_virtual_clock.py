"""A virtual clock has every executor give the same events and the same bits, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa.core.ask import Ask, Closing, Input, Reply
from hansa.data import ClientDataset, FederatedData
from hansa.rules import WeightedMean
from hansa.simulation import SequentialExecutor
from hansa.simulation.availability import Diurnal
from hansa.simulation.clock import VirtualClock
from hansa.simulation.devices import LogNormal, Network, Speeds
from hansa.simulation.processes import Origin, ProcessesExecutor
from hansa.simulation.processes.crew import ProcessCrew
from hansa.simulation.processes.port import Manning

if not hasattr(os, "memfd_create"):
    pytest.skip("what is tested here needs Linux", allow_module_level=True)

FORM = {"w": np.zeros((5, 3), np.float32)}
DATA = FederatedData(
    {f"c{number}": ClientDataset({"x": np.full((number + 1, 1), number, np.float32)}) for number in range(12)}
)
CLOCK = VirtualClock(
    compute=Speeds(slow=0.2, per_example=True),
    network=Network(up=LogNormal(100.0), latency=0.1),
    availability=Diurnal(40.0, 0.7),
    dropout=0.1,
    at_least=4,
)

WORKS = """
import os
import numpy as np
from hansa.core.work import Update

def train(given, context):
    path = context.settings.get("fails", "")
    if path:
        with open(os.path.join(path, context.id), "a") as file:
            file.write("x")
        if os.path.getsize(os.path.join(path, context.id)) <= context.settings["times"]:
            raise OSError("not yet")
    drawn = context.key.generator().normal(size=given["w"].shape)
    visits = context.state.get("visits", np.zeros(()))
    return Update({"w": (given["w"] + drawn + visits).astype(np.float32)}, float(len(context.data["train"])),
                  state={"visits": np.array(visits + 1)})

WORKS = {"train": train}
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    folder = tmp_path_factory.mktemp("works")
    (folder / "patient.py").write_text(WORKS)
    return Origin.attribute("patient:WORKS", [str(folder)])


@pytest.fixture(scope="module")
def crew(origin: Origin) -> Iterator[ProcessCrew]:
    crew = ProcessCrew(origin, Manning(2))
    yield crew
    crew.close()


def works(origin: Origin) -> Any:
    names: dict[str, Any] = {}
    exec(WORKS, names)  # noqa: S102 - our own source, above
    return names["WORKS"]


def ask(cohort: Any, round_: int, closing: Closing, **more: Any) -> Ask:
    arguments: dict[str, Any] = {"form": FORM, **more}
    return Ask("train", FORM, tuple(cohort), WeightedMean(), round_, round_ - 1, closing=closing, **arguments)


def bits(reply: Reply) -> Any:
    aggregate = {name: leaf.tobytes() for name, leaf in reply.aggregate.items()}
    return aggregate, list(reply.outcomes.items()), reply.metrics, (reply.down, reply.up, reply.wasted)


CLOSINGS = (
    Closing.all(),
    Closing.quorum(2, 3.0),
    Closing.quorum(3, 500.0),
    Closing.quorum(2, grace=1.0),
    Closing.quorum(2, grace=0.0),
    Closing.first(2, patience=8.0),
    Closing.first(3),
)


def script(executed: SequentialExecutor) -> list[Any]:
    told = []
    for round_ in range(1, 29):
        population = executed.population()
        closing = CLOSINGS[round_ // 4] if round_ < 24 else CLOSINGS[5]
        told.append((bits(executed.execute(ask(population.ids[:8], round_, closing))), executed.seconds()))
    return told


def test_worker_processes_have_the_same_events_and_bits(origin: Origin, crew: ProcessCrew) -> None:
    expected = script(SequentialExecutor(works(origin), DATA, 3, clock=CLOCK))
    assert script(ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew, clock=CLOCK)) == expected


@pytest.mark.parametrize("form", [FORM, None], ids=["summed by the workers", "one by one"])
@pytest.mark.parametrize("clock", [None, VirtualClock(compute=1.0)], ids=["no clock", "virtual clock"])
def test_whoever_fails_tries_again_in_worker_processes_too(
    origin: Origin, crew: ProcessCrew, tmp_path: Path, form: Any, clock: VirtualClock | None
) -> None:
    replies = []
    for number, kind in enumerate(("here", "there")):
        (tmp_path / kind).mkdir()
        once: dict[str, Any] = {"fails": str(tmp_path / kind), "times": 1}
        inputs = {"c1": Input(settings=once), "c5": Input(settings={**once, "times": 2}), "c7": Input(settings=once)}
        executed = (
            ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew, clock=clock)
            if number
            else SequentialExecutor(works(origin), DATA, 3, clock=clock)
        )
        closing = Closing.quorum(11, retries=1)
        first = executed.execute(ask(DATA.clients, 1, closing, form=form, inputs=inputs))
        second = executed.execute(ask(DATA.clients, 2, closing, form=form))
        replies.append((bits(first), bits(second)))
        assert first.outcomes["c5"].why == "OSError: not yet, after 2 attempts"
        assert [client for client, outcome in first.outcomes.items() if outcome.status == "failed"] == ["c5"]
        assert list(first.outcomes)[-3:] == ["c1", "c5", "c7"]
        assert {path.name: path.read_text() for path in (tmp_path / kind).iterdir()} == dict.fromkeys(inputs, "xx")
    assert replies[0] == replies[1]


DAY = """
import hashlib, json
import numpy as np
import hansa
from hansa.simulation.availability import Diurnal
from hansa.simulation.clock import VirtualClock
from hansa.simulation.devices import Network, Speeds

x = np.random.default_rng(0).normal(size=(600, 5)).astype("float32")
examples = hansa.ClientDataset({"x": x, "y": (x.sum(axis=1) > 0).astype("int64")})
data = hansa.FederatedData.partition(examples, hansa.IID(60))
data = hansa.FederatedData(dict(data.split("train")), {"judge": examples})
model = hansa.NumpyMLP((5, 8, 2))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, epochs=1)
fedavg = hansa.FedAvg(local, rounds=12, sampler=hansa.UniformSampler(8), closing=hansa.Closing.quorum(3, 2.0, grace=1.0))
experiment = hansa.Experiment(model, hansa.Evaluated(fedavg, hansa.Evaluation(model), every=3))
clock = VirtualClock(compute=Speeds(slow=0.1), network=Network(up=1e4), availability=Diurnal(300.0, 0.4), dropout=0.1,
                     at_least=12, instant=["judge"])

def digest(run):
    told = json.dumps([entry.to_json() for entry in run.history.entries], sort_keys=True).encode()
    leaves = b"".join(leaf.tobytes() for _, leaf in sorted(run.model().items()))
    return hashlib.sha256(told + leaves).hexdigest()
"""


def test_a_run_is_the_same_in_every_process_and_executor(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "day"}
    (tmp_path / "day.py").write_text(DAY)
    exec(DAY, names)  # noqa: S102 - our own source, above
    hansa = names["hansa"]

    def digest(executor: Any, **more: Any) -> str:
        federation = hansa.Federation.simulate(names["data"], clock=names["clock"], executor=executor)
        return str(names["digest"](federation.run(names["experiment"], **more)))

    expected = digest(hansa.Sequential())
    assert digest(hansa.Sequential()) == expected
    assert digest(hansa.Fused()) == expected
    assert digest(hansa.Processes(workers=2), source=tmp_path / "day.py") == expected
    program = DAY + "print(digest(hansa.Federation.simulate(data, clock=clock).run(experiment, callbacks=())))"
    for seed in ("1", "77"):
        found = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == expected


def test_a_run_that_was_cancelled_or_killed_goes_on_to_the_same_events(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "day"}
    exec(DAY, names)  # noqa: S102 - our own source, above
    hansa, experiment = names["hansa"], names["experiment"]

    class Cancel:
        def started(self, run: Any) -> None:
            pass

        def entry(self, run: Any, entry: Any) -> None:
            if entry.round == 7 and entry.work == "train":
                run.cancel()

        def ended(self, run: Any) -> None:
            pass

    whole = hansa.Federation.simulate(names["data"], clock=names["clock"]).run(experiment)
    kept = hansa.Checkpoint(tmp_path / "kept")
    federation = hansa.Federation.simulate(names["data"], clock=names["clock"])
    with pytest.raises(hansa.errors.RunFailed):
        federation.run(experiment, callbacks=[Cancel(), kept])
    assert names["digest"](federation.runs()[0].resume()) == names["digest"](whole)
    again = hansa.Federation.simulate(names["data"], clock=names["clock"]).run(
        experiment, resume=hansa.Checkpoint.resume(tmp_path / "kept")
    )
    assert names["digest"](again) == names["digest"](whole)
