"""Actors on a Ray cluster give what the sequential executor gives, although some are lost."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa.core.ask import Ask, Closing, Input
from hansa.data import ClientDataset, FederatedData
from hansa.errors import ExperimentFileError
from hansa.experiment.files import load_experiment
from hansa.rules import Collect, WeightedMean
from hansa.simulation import SequentialExecutor
from hansa.simulation.processes import Origin
from hansa.testing import blobs, check_executor

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

# Ray deprecates parts of itself, and leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")

WHOLE = ClientDataset({"x": np.arange(1000, dtype=np.float32).reshape(-1, 1), "y": np.zeros(1000, np.int64)})
DATA = FederatedData({f"c{number}": WHOLE.select(np.arange(number * 10, number * 11 + 1)) for number in range(12)})
FORM = {"w": np.zeros((5, 3), np.float32)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_AUTH_MODE", "disabled")  # or it would write a token to the home folder
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def origin(folder: Path) -> Origin:
    return Origin.attribute("acts:WORKS", [str(folder)])


@pytest.fixture(scope="module")
def crew(cluster: None, origin: Origin) -> Iterator[Any]:
    from hansa.simulation.ray.crew import ActorCrew

    crew = ActorCrew(origin, workers=2)
    yield crew
    crew.close()


def executor(origin: Origin, crew: Any, data: FederatedData = DATA, seed: int = 3) -> Any:
    from hansa.simulation.ray import RayExecutor

    return RayExecutor(origin, data, seed, crew=crew)


def ask(round_: int, acts: Mapping[str, str] | None = None, **details: Any) -> Ask:
    inputs = {client: Input(settings={"act": act}) for client, act in (acts or {}).items()}
    arguments: dict[str, Any] = {"rule": WeightedMean(), "form": FORM, "inputs": inputs, **details}
    return Ask("act", FORM, tuple(DATA.clients), round=round_, version=round_ - 1, **arguments)


def test_actors_carry_asks_out_as_the_port_promises(cluster: None) -> None:
    from hansa.simulation.ray.crew import ActorCrew

    origin = Origin.attribute("hansa.testing.executors:WORKS")
    crew = ActorCrew(origin, workers=2)
    check_executor(lambda works, data, seed: executor(origin, crew, data, seed))
    crew.close()


def test_a_run_has_the_same_bits_although_an_actor_is_lost_in_it(
    crew: Any, origin: Origin, works: Mapping[str, Any], tmp_path: Path
) -> None:
    oracle, actors = SequentialExecutor(works, DATA, 3), executor(origin, crew)
    for round_, (rule, form) in enumerate([(WeightedMean(), FORM), (Collect(), None)], 1):
        told = {"c4": Input(settings={"act": "once", "path": str(tmp_path / str(round_))})}
        found = actors.execute(ask(round_, rule=rule, form=form, inputs=told))
        assert (tmp_path / str(round_)).exists(), "no actor was lost"
        expected = oracle.execute(ask(round_, rule=rule, form=form, inputs=told))  # it is there by now
        assert {name: leaf.tobytes() for name, leaf in found.aggregate.items()} == {
            name: leaf.tobytes() for name, leaf in expected.aggregate.items()
        }
        assert list(found.outcomes.items()) == list(expected.outcomes.items())
        assert found.metrics == expected.metrics


def test_a_client_over_which_actors_are_lost_has_failed(crew: Any, origin: Origin) -> None:
    reply = executor(origin, crew).execute(ask(1, {"c4": "exit"}, closing=Closing.quorum(2)))
    failed = {client: outcome.why for client, outcome in reply.outcomes.items() if outcome.status != "updated"}
    assert failed == {"c4": "ChildDied: its actor was lost, twice"}


def test_works_that_cannot_be_loaded(cluster: None) -> None:
    from hansa.simulation.ray.crew import ActorCrew

    crew = ActorCrew(Origin.attribute("no_such_module_here:WORKS"), workers=1)
    with pytest.raises(ExperimentFileError, match=r"the actors cannot load the works: .*no_such_module_here"):
        executor(Origin.attribute("no_such_module_here:WORKS"), crew).execute(ask(1))
    crew.close()


def test_an_experiment_file_is_sent_with_its_neighbours(cluster: None, tmp_path: Path) -> None:
    from hansa.simulation.ray.crew import ActorCrew

    (tmp_path / "experiment.py").write_text(
        "import hansa\nfrom beside import RATE\nmodel = hansa.NumpyMLP((5, 3))\n"
        "local = hansa.LocalTraining(model, hansa.SGD(RATE), epochs=1)\n"
        "experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=1))\n"
    )
    (tmp_path / "beside.py").write_text("RATE = 0.25\n")
    file = load_experiment(tmp_path / "experiment.py")
    origin = Origin.file(file.path, names=file.names)
    crew, data, start = ActorCrew(origin, workers=1), blobs(3), file.experiment.start()
    (tmp_path / "beside.py").unlink()
    asked = Ask("train", start, tuple(data.clients), WeightedMean(), 1, 0, form=start)
    found = executor(origin, crew, data).execute(asked)
    expected = SequentialExecutor(file.experiment.plan.works, data, 3).execute(asked)
    assert found.outcomes == expected.outcomes
    assert {name: leaf.tobytes() for name, leaf in found.aggregate.items()} == {
        name: leaf.tobytes() for name, leaf in expected.aggregate.items()
    }
    crew.close()
