"""Worker processes give what the sequential executor gives, whatever becomes of some of them."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa.core.ask import Ask, Closing, Input, Reply
from hansa.data import ClientDataset, FederatedData
from hansa.errors import ChildDied, ConfigError, ExperimentFileError
from hansa.rules import Both, Collect, WeightedMean
from hansa.simulation import SequentialExecutor
from hansa.simulation.choice import cores
from hansa.simulation.processes import Origin, ProcessesExecutor
from hansa.simulation.processes.crew import ProcessCrew
from hansa.simulation.processes.port import Manning

if not hasattr(os, "memfd_create"):
    pytest.skip("what is tested here needs Linux", allow_module_level=True)

FORM = {"w": np.zeros((5, 3), np.float32)}


@pytest.fixture(scope="module")
def origin(folder: Path) -> Origin:
    return Origin.attribute("acts:WORKS", [str(folder)])


@pytest.fixture(scope="module", params=["shared", "fresh"])
def crew(origin: Origin, request: pytest.FixtureRequest) -> Iterator[ProcessCrew]:
    crew = ProcessCrew(origin, Manning(2, fresh=request.param == "fresh"))
    yield crew
    crew.close()


def federated() -> FederatedData:
    whole = ClientDataset({"x": np.arange(1000, dtype=np.float32).reshape(-1, 1), "y": np.zeros(1000, np.int64)})
    return FederatedData({f"c{number}": whole.select(np.arange(number * 10, number * 11 + 1)) for number in range(12)})


DATA = federated()


def ask(round_: int = 1, acts: Mapping[str, str] | None = None, **details: Any) -> Ask:
    inputs = {client: Input(settings={"act": act}) for client, act in (acts or {}).items()}
    arguments: dict[str, Any] = {"rule": WeightedMean(), "form": FORM, "inputs": inputs, "work": "act", **details}
    return Ask(broadcast=FORM, cohort=tuple(DATA.clients), round=round_, version=round_ - 1, **arguments)


def same(one: Reply, other: Reply) -> None:
    assert {name: leaf.tobytes() for name, leaf in one.aggregate.items()} == {
        name: leaf.tobytes() for name, leaf in other.aggregate.items()
    }
    assert list(one.outcomes.items()) == list(other.outcomes.items())
    assert one.metrics == other.metrics
    assert repr(one.failure) == repr(other.failure)


def whys(reply: Reply) -> dict[str, str]:
    return {client: outcome.why for client, outcome in reply.outcomes.items() if outcome.status != "updated"}


# --- the same as the sequential executor


def asks() -> Iterator[Ask]:
    """A run in which much goes wrong, and private states follow from it."""
    yield ask(1)
    yield ask(2, {"c3": "leave", "c7": "print"}, settings={"size": 8}, closing=Closing.quorum(2))
    yield ask(3, {"c1": "sum"}, rule=Both(WeightedMean(equal=True), Collect()))
    yield ask(4, settings={"size": 3}, closing=Closing.first(5))
    yield ask(5, form=None)
    yield ask(6, dict.fromkeys(DATA.clients, "leave"), closing=Closing.quorum(1))
    yield ask(7, work="plain", form={"w": np.zeros((5, 3))})
    yield ask(8, form={"w": np.zeros((5, 3), np.float32)})


def test_a_run_has_the_same_bits(crew: ProcessCrew, origin: Origin, works: Mapping[str, Any]) -> None:
    oracle, executor = (
        SequentialExecutor(works, DATA, 3),
        ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew),
    )
    for each in asks():
        same(executor.execute(each), oracle.execute(each))
    assert repr(executor.state) == repr(oracle.state)
    restored = ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew)
    restored.restore(executor.state)
    same(restored.execute(ask(9)), oracle.execute(ask(9)))


def test_large_models_too(origin: Origin, works: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large is given back as soon as it can be: here everything is."""
    monkeypatch.setattr("hansa.simulation.processes.outgoing.HEAVY", 0)
    oracle, executor = SequentialExecutor(works, DATA, 3), ProcessesExecutor(origin, DATA, 3, workers=2)
    with executor_closed(executor):
        for each in (ask(1), ask(2, form=None), ask(3, form=None, closing=Closing.first(5)), ask(4), ask(5)):
            same(executor.execute(each), oracle.execute(each))


def test_fast_mode_is_the_same_within_rounding(origin: Origin, works: Mapping[str, Any]) -> None:
    oracle, executor = SequentialExecutor(works, DATA, 3), ProcessesExecutor(origin, DATA, 3, workers=2, mode="fast")
    with executor_closed(executor):
        for each in (ask(1), ask(2), ask(3, form=None)):
            one, other = oracle.execute(each), executor.execute(each)
            np.testing.assert_allclose(one.aggregate["w"], other.aggregate["w"], rtol=1e-5)
            assert one.outcomes == other.outcomes


class executor_closed:  # noqa: N801 - a context, as contextlib.closing is
    def __init__(self, executor: ProcessesExecutor) -> None:
        self._executor = executor

    def __enter__(self) -> ProcessesExecutor:
        return self._executor

    def __exit__(self, *_: object) -> None:
        self._executor.close()


# --- clients that take their process along


@pytest.mark.parametrize(
    ("act", "why"),
    [
        ("exit", "ended with exit status 3"),
        ("SIGKILL", "was killed by signal 9 (SIGKILL), perhaps for want of memory"),
        ("SIGSEGV", "was killed by signal 11 (SIGSEGV): native code went wrong"),
    ],
)
def test_only_the_client_that_killed_its_process_fails(
    crew: ProcessCrew, origin: Origin, works: Mapping[str, Any], act: str, why: str
) -> None:
    oracle, executor = (
        SequentialExecutor(works, DATA, 3),
        ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew),
    )
    quorum = Closing.quorum(2)
    same(executor.execute(ask(1)), oracle.execute(ask(1)))
    found = executor.execute(ask(2, {"c2": act, "c9": act}, closing=quorum))
    assert whys(found) == dict.fromkeys(("c2", "c9"), f"ChildDied: its worker process {why}")
    expected = oracle.execute(ask(2, {"c2": "leave", "c9": "leave"}, closing=quorum))
    assert found.aggregate["w"].tobytes() == expected.aggregate["w"].tobytes()
    assert found.metrics == expected.metrics
    same(executor.execute(ask(3)), oracle.execute(ask(3)))


def test_updates_that_come_one_by_one_survive_it_too(crew: ProcessCrew, origin: Origin) -> None:
    executor = ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew)
    reply = executor.execute(ask(1, dict.fromkeys(("c0", "c1", "c4"), "SIGKILL"), closing=Closing.first(5)))
    assert list(reply.outcomes) == [f"c{number}" for number in range(8)]
    assert list(whys(reply)) == ["c0", "c1", "c4"]


def test_what_was_in_a_lost_sum_is_computed_again(origin: Origin, works: Mapping[str, Any], tmp_path: Path) -> None:
    """The last of twelve kills the only process, which has summed the others: private states must not have moved on."""
    oracle, executor = SequentialExecutor(works, DATA, 3), ProcessesExecutor(origin, DATA, 3, workers=1)
    with executor_closed(executor):
        same(executor.execute(ask(1)), oracle.execute(ask(1)))
        found = executor.execute(ask(2, {"c0": "SIGKILL"}, closing=Closing.quorum(2)))
        expected = oracle.execute(ask(2, {"c0": "leave"}, closing=Closing.quorum(2)))
        assert found.aggregate["w"].tobytes() == expected.aggregate["w"].tobytes()
        same(executor.execute(ask(3)), oracle.execute(ask(3)))


@pytest.mark.parametrize("isolation", ["shared", "fresh"])
def test_a_client_that_hangs_has_failed(origin: Origin, isolation: Any) -> None:
    executor = ProcessesExecutor(origin, DATA, 3, workers=2, timeout=3.0, isolation=isolation)
    with executor_closed(executor):
        reply = executor.execute(ask(1, {"c5": "hang"}, closing=Closing.quorum(2)))
        assert whys(reply) == {"c5": "ChildDied: did not finish within 3 s"}


# --- processes


def test_fresh_clients_have_a_process_each(crew: ProcessCrew, origin: Origin) -> None:
    executor = ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew)
    found = executor.execute(ask(1, work="where", rule=Collect(), form=None)).aggregate
    processes = {float(leaf[0, 0]) for leaf in found.values()}
    assert len(processes) == 12 if crew.manning.fresh else len(processes) <= 2


def test_works_that_start_threads_have_an_interpreter_each(folder: Path, works: Mapping[str, Any]) -> None:
    (folder / "threads.py").write_text(
        "import threading\nfrom acts import WORKS\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    origin, few = Origin.attribute("threads:WORKS", [str(folder)]), tuple(DATA.clients[:2])
    executor = ProcessesExecutor(origin, DATA, 3, workers=2, isolation="fresh")
    with executor_closed(executor):
        asked = Ask("act", FORM, few, WeightedMean(), 1, 0, form=FORM)
        same(executor.execute(asked), SequentialExecutor(works, DATA, 3).execute(asked))


def test_what_workers_print_is_printed_here(origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    executor = ProcessesExecutor(origin, DATA, 3, workers=1)
    executor.execute(ask(1, {"c5": "print"}))
    executor.close()
    assert capsys.readouterr().out == "said by c5\n"


def test_works_that_need_no_examples_are_sent_none(origin: Origin, works: Mapping[str, Any]) -> None:
    loaded: list[int] = []

    def load(number: int) -> dict[str, Any]:
        loaded.append(number)
        return {"x": np.full(3, number, np.float32)}

    data = FederatedData.generated(load, 100)
    executor = ProcessesExecutor(origin, data, 3, workers=1)
    with executor_closed(executor):
        for round_ in (1, 2):
            loaded.clear()
            asked = Ask("plain", FORM, tuple(map(str, range(100))), WeightedMean(), round_, 0, form=FORM)
            assert executor.execute(asked).aggregate["w"].tolist() == np.ones((5, 3)).tolist()
        assert loaded == []
        executor._needless["act"] = True  # as if it had needed none so far
        asked = Ask("act", FORM, tuple(map(str, range(9))), WeightedMean(), 3, 0, form=FORM)
        same(executor.execute(asked), SequentialExecutor(works, data, 3).execute(asked))
        assert executor._needless["act"] is False


@pytest.mark.parametrize("isolation", ["shared", "fresh"])
def test_nothing_is_left_of_a_closed_executor(origin: Origin, isolation: Any) -> None:
    before = set(os.listdir("/proc/self/fd"))
    executor = ProcessesExecutor(origin, DATA, 3, workers=2, isolation=isolation)
    executor.execute(ask(1, {"c5": "SIGKILL"}, closing=Closing.quorum(2)))
    crew: Any = executor._crew
    pids = [member.pid for member in crew.members]
    executor.close()
    executor.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0
    same_again = executor.execute(ask(2))
    assert not whys(same_again)
    pids = [member.pid for member in crew.members]
    del executor, crew, same_again
    gc.collect()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0


PARENT = """
import sys
import numpy as np
from hansa.core.ask import Ask, Input
from hansa.data import ClientDataset, FederatedData
from hansa.rules import WeightedMean
from hansa.simulation.processes import Origin, ProcessesExecutor
data = FederatedData({c: ClientDataset({"x": np.ones(3, np.float32)}) for c in "abc"})
form = {"w": np.zeros((5, 3), np.float32)}
executor = ProcessesExecutor(Origin.attribute("acts:WORKS", [sys.argv[1]]), data, 1, workers=2, isolation=sys.argv[2])
def ask(act):
    inputs = {c: Input(settings={"act": act}) for c in "abc"}
    return Ask("act", form, tuple("abc"), WeightedMean(), 1, 0, form=form, inputs=inputs)
executor.execute(ask(""))
print(*(member.pid for member in executor._crew.members), flush=True)
executor.execute(ask("hang"))
"""


@pytest.mark.parametrize("isolation", ["shared", "fresh"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent_however_it_ends(folder: Path, isolation: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), isolation],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        groups = parent.stdout.readline().split()
        assert len(groups) == 2
        watched = [os.pidfd_open(int(group)) for group in groups]
        parent.send_signal(number)
        try:
            parent.wait(20)
        finally:
            parent.kill()  # where it did not end: leaving the block would wait for it for ever
    for group, each in zip(groups, watched, strict=True):
        assert _ends(each), f"worker {group} is left"
        os.close(each)


def _ends(watched: int) -> bool:
    import select

    return bool(select.select([watched], [], [], 10)[0])


# --- what cannot be


def test_works_that_cannot_be_loaded(folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_module_here\n")
    executor = ProcessesExecutor(Origin.attribute("broken:WORKS", [str(folder)]), DATA, 3, workers=2)
    with (
        executor_closed(executor),
        pytest.raises(ExperimentFileError, match=r"cannot load the works: .*no_such_module"),
    ):
        executor.execute(ask())


def test_a_worker_that_dies_while_it_loads(folder: Path) -> None:
    (folder / "deadly.py").write_text(
        "import os, sys\nprint('these are its last words', file=sys.stderr)\nos._exit(7)\n"
    )
    executor = ProcessesExecutor(Origin.attribute("deadly:WORKS", [str(folder)]), DATA, 3, workers=2)
    with executor_closed(executor), pytest.raises(ChildDied) as caught:
        executor.execute(ask())
    assert "ended with exit status 7 before it had loaded the works\nthese are its last words" in caught.value.what


def test_a_transform_that_no_worker_finds(crew: ProcessCrew, origin: Origin) -> None:
    executor = ProcessesExecutor(origin, DATA.with_transform(lambda batch: batch), 3, workers=2, crew=crew)
    with pytest.raises(ConfigError, match="cannot be found by worker processes"):
        executor.execute(ask())
    same(
        ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew).execute(ask()),
        ProcessesExecutor(origin, DATA, 3, workers=2, crew=crew).execute(ask()),
    )


def test_data_that_cannot_be_loaded_are_their_client_s_failure(crew: ProcessCrew, origin: Origin, works: Any) -> None:
    def load(number: int) -> dict[str, Any]:
        if number == 2:
            raise OSError("the disk is gone")
        return {"x": np.full(3, number, np.float32)}

    data = FederatedData.generated(load, 4)
    asked = Ask("act", FORM, ("0", "1", "2", "3"), WeightedMean(), 1, 0, form=FORM, closing=Closing.quorum(1))
    found = ProcessesExecutor(origin, data, 3, workers=2, crew=crew).execute(asked)
    same(found, SequentialExecutor(works, data, 3).execute(asked))
    assert whys(found) == {"2": "OSError: the disk is gone"}


SCRIPT = """
import sys
from dataclasses import dataclass
from pathlib import Path
import hansa
import numpy as np
from hansa.core.loop import Progress, steps
from hansa.core.history import History
from hansa.rules import WeightedMean
from hansa.testing import blobs

def doubled(batch):
    return {**batch, "x": batch["x"] * 2}

@dataclass(frozen=True)
class Mine(WeightedMean):
    scale: float = 2.0

model = hansa.NumpyMLP((5, 3))
experiment = hansa.Experiment(model, hansa.FedAvg(hansa.LocalTraining(model, hansa.SGD(0.1), epochs=1), rounds=2))

if __name__ == "__main__":
    from hansa.core.ask import Ask
    from hansa.simulation import SequentialExecutor
    from hansa.simulation.processes import Origin, ProcessesExecutor
    entry = Path(__file__)
    data = blobs(4).with_transform(doubled)
    works = experiment.plan.works
    for origin in (Origin.source(entry, entry.read_text(), "__main__"), Origin.file(entry, "__main__")):
        executor = ProcessesExecutor(origin, data, 0, workers=2, mode=sys.argv[1])
        oracle = SequentialExecutor(works, data, 0, mode=sys.argv[1])
        start = experiment.start()
        for rule in (WeightedMean(), Mine()):
            ask = Ask("train", start, data.clients, rule, 1, 0, form=start)
            one, other = oracle.execute(ask), executor.execute(ask)
            assert one.outcomes == other.outcomes, other.outcomes
            for name in one.aggregate:
                np.testing.assert_allclose(one.aggregate[name], other.aggregate[name], rtol=1e-5, atol=1e-7)
        print("same")
        executor.close()
"""


@pytest.mark.parametrize("mode", ["reference", "fast"])
def test_a_script_s_own_classes_and_functions_are_found_by_workers(tmp_path: Path, mode: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", mode], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.stdout, done.stderr) == ("same\nsame\n", "")


MOVING = """
import hansa
from hansa.simulation import automatic
from hansa.simulation.choice import Processes
from hansa.testing import blobs

model = hansa.NumpyMLP((5, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1, momentum=0.9), epochs=1, optimizer_state="keep")
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=4))

if __name__ == "__main__":
    exact = hansa.Federation.simulate(blobs(4), executor=hansa.Sequential()).run(experiment, callbacks=())
    automatic.WORTH = automatic.LEAST = -1.0
    opened, opens = [], Processes.open
    Processes.open = lambda self, job: opened.append(job.mode) or opens(self, job)
    moved = hansa.Federation.simulate(blobs(4)).run(experiment, callbacks=())
    assert all((moved.model()[name] == leaf).all() for name, leaf in exact.model().items())
    assert [each.metrics for each in moved.history.entries] == [each.metrics for each in exact.history.entries]
    print(opened, moved.history.environment.get("processes"))
"""


def test_a_reference_run_that_moves_keeps_its_bits(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(MOVING)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    if cores() == 1:
        pytest.skip("there is one core, and nowhere to move to")
    assert done.stderr == ""
    assert done.stdout in ("['reference'] None\n", "['reference'] they were no quicker\n")
