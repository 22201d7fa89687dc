"""`Federation.connect`: what a scientist's script does in a real federation, held against the same script in the simulator."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hansa
from hansa.data.schema import check
from hansa.federation.connected import ConnectedFederation
from hansa.federation.connected_run import ConnectedRun
from hansa.protocol import codec

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live, MakeLive

EXPERIMENTS = Path(__file__).parent / "experiments"
KEPT = EXPERIMENTS / "kept.py"

SCRIPT = '''"""Twenty lines of a scientist's."""
import hansa
from hansa.protocol import codec
from hansa.testing import blobs

clouds = blobs()
data = hansa.FederatedData({"alice": clouds["0"], "bob/a": clouds["1"], "bob/b": clouds["2"]})
rate = 0.1  # a constant of the script


def network():
    """What is trained."""
    return hansa.NumpyMLP((5, 8, 3))


model = network()
local = hansa.LocalTraining(model, hansa.SGD(rate), batch_size=8, steps=5)
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=2), seed=1, at_least=2)

federation = hansa.Federation.simulate(data)
run = federation.run(experiment)
print(codec.digest(run.history.model))
'''


@pytest.fixture
def federation(live: Live) -> Iterator[ConnectedFederation]:
    with hansa.Federation.connect(live.local.address, identity=live.local.folder / "user") as connected:
        yield connected


def printed(script: Path, live: Live) -> str:
    """What a script prints when somebody runs it who has an identity."""
    environment = {**os.environ, "HANSA_IDENTITY": str(live.local.folder / "user")}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_one_word_more_takes_a_script_from_the_simulator_to_a_real_federation(live: Live, tmp_path: Path) -> None:
    simulated, real = tmp_path / "simulated.py", tmp_path / "real.py"
    simulated.write_text(SCRIPT)
    real.write_text(SCRIPT.replace("simulate(data)", f'connect("{live.local.address}")'))
    assert printed(simulated, live) == printed(real, live)


def test_what_is_shipped_of_a_script_is_what_the_experiment_needs(
    federation: ConnectedFederation, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    before = SCRIPT.partition("federation =")[0]
    script.write_text(before + "shown = ask(experiment)\n")
    names = {"__name__": "__main__", "__file__": str(script), "ask": federation.preview}
    exec(compile(script.read_text(), str(script), "exec"), names)  # noqa: S102 - our own script
    (text,) = names["shown"]["files"].values()  # type: ignore[index]
    assert "rate = 0.1  # a constant of the script" in text
    assert '"""What is trained."""' in text
    for left in ("blobs", "simulate", "ask", "codec"):
        assert left not in text


def test_an_experiment_without_a_name_is_told_to_have_one(federation: ConnectedFederation) -> None:
    experiment = hansa.load_experiment(KEPT).experiment
    with pytest.raises(hansa.errors.ExperimentFileError, match="no name of its own"):
        federation.run(experiment)


def test_who_is_there_and_what_their_data_look_like(federation: ConnectedFederation) -> None:
    envoys = {envoy.name: envoy for envoy in federation.envoys()}
    assert envoys["bob"].clients.keys() == {"bob/a", "bob/b"}
    assert envoys["alice"].online
    assert envoys["alice"].since > 0
    assert envoys["alice"].schema["y"].classes == 3
    assert "online" in repr(envoys["alice"])
    dummy = federation.dummy_data(9)
    assert set(dummy.clients) == {"alice", "bob/a", "bob/b"}
    for client in dummy.clients:
        check(dummy[client], federation.schema, client=client)
    tried = hansa.load_experiment(KEPT).experiment.debug(dummy)
    assert {each.work for each in tried.tried} == {"train", "evaluate"}


def test_a_run_is_followed_and_its_models_fetched_also_by_another_notebook(
    live: Live, federation: ConnectedFederation, tmp_path: Path
) -> None:
    experiment = hansa.load_experiment(KEPT).experiment
    run = federation.run(experiment, source=KEPT, wait=False)
    events = list(run.stream())
    entries = [event.entry for event in events if event.entry is not None]
    assert [entry.round for entry in entries if entry.work == "train"] == [1, 2, 3, 4, 5, 6]
    assert events[-1].status.phase == "finished"
    again = hansa.Federation.connect(live.local.address, identity=live.local.folder / "user")
    with again:
        other = again.run_by_id(run.id)
        assert run.id in {each.id for each in again.runs()}
        history = other.history
        losses = dict(history.series("loss"))
        best = min(losses, key=lambda round_: losses[round_])
        assert other.status().models == {"best": best, "2": 2, "4": 4, "6": 6}
        whole = hansa.Federation.simulate(simulated_data()).run(experiment)
        for which in ("best", "last", 2, 4, 6):
            assert codec.digest(other.model(which)) == codec.digest(whole.model(which)), which
        with pytest.raises(hansa.errors.UnknownName, match="model '3'"):
            other.model(3)
        folder = other.download(tmp_path / "out")
    assert codec.digest(hansa.load_model(folder / "best.safetensors")) == codec.digest(whole.model("best"))
    assert hansa.load_results(folder).rounds == 6


WAITS = """
        while context.round > 3 and not Path({!r}).exists():
            threading.Event().wait(0.02)
"""


def test_a_cancelled_run_is_resumed_to_the_same_bits(
    live: Live, federation: ConnectedFederation, tmp_path: Path
) -> None:
    entry, gate = tmp_path / "kept.py", tmp_path / "open"
    before, says, after = KEPT.read_text().partition("        sys.stdout.write(")
    waits = WAITS.format(str(gate)).lstrip("\n") + says
    entry.write_text("import threading\nfrom pathlib import Path\n" + before.partition("\n")[2] + waits + after)
    experiment = hansa.load_experiment(entry).experiment
    run = federation.run(experiment, source=entry, wait=False)
    for event in run.stream():
        if event.entry is not None and event.entry.work == "train" and event.entry.round == 3:
            run.cancel("enough for today")  # round 4 waits meanwhile, however slow this process is
    gate.touch()
    with pytest.raises(hansa.errors.RunFailed, match="cancelled by user: enough for today") as caught:
        run.wait()
    assert caught.value.history is not None
    assert caught.value.history.rounds == 3
    resumed = run.resume()
    assert isinstance(resumed, ConnectedRun)
    history = resumed.wait().history
    assert codec.digest(history.model) == live.simulated(KEPT)
    assert [entry.round for entry in history.entries if entry.work == "train"] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(hansa.errors.NotAllowed, match="is finished"):
        resumed.resume()


def test_what_works_print_stays_with_the_owner_unless_they_let_it_leave(make_live: MakeLive) -> None:
    live = make_live(envoy={"logs = false": "logs = true"})
    with hansa.Federation.connect(live.local.address, identity=live.local.folder / "user") as federation:
        run = federation.run(hansa.load_experiment(KEPT).experiment, source=KEPT)
        assert "bob/a trains in round 2" in run.logs("bob/a")
        assert "alice" not in run.logs("bob/a")
        assert "alice trains in round 6" in run.logs()


def test_by_default_nothing_that_is_printed_leaves(federation: ConnectedFederation) -> None:
    run = federation.run(hansa.load_experiment(KEPT).experiment, source=KEPT)
    assert "trains in round" not in run.logs()


def test_callbacks_watch_a_real_run_as_they_watch_a_simulated_one(
    federation: ConnectedFederation, tmp_path: Path
) -> None:
    experiment = hansa.load_experiment(KEPT).experiment
    tables = []
    for each in (federation, hansa.Federation.simulate(simulated_data())):
        file = tmp_path / f"{type(each).__name__}.csv"
        options = {"source": KEPT} if each is federation else {}
        each.run(experiment, callbacks=[hansa.CsvLogger(file)], **options)  # type: ignore[arg-type]
        rows = [line.split(",") for line in file.read_text().splitlines()]
        tables.append(
            [[cell for name, cell in zip(rows[0], row, strict=True) if name not in ("run", "seconds")] for row in rows]
        )
    assert len(tables[0]) > 6
    assert sorted(tables[0]) == sorted(tables[1])


def test_a_requirement_that_an_envoy_lacks_is_told_with_its_name_before_anything_is_trained(
    federation: ConnectedFederation, tmp_path: Path
) -> None:
    file = tmp_path / "needy.py"
    file.write_text(
        KEPT.read_text().replace(
            'name="kept"', 'name="needy", envoys=("alice", "bob"), requirements=("nosuchpackage>=1",)'
        )
    )
    experiment = hansa.load_experiment(file).experiment
    with pytest.raises(hansa.errors.RunFailed, match="nosuchpackage") as caught:
        federation.run(experiment, source=file)
    assert any(f"{name}: " in str(caught.value) for name in ("alice", "bob"))
    assert caught.value.history is not None
    assert not caught.value.history.entries


def test_a_device_that_an_owner_does_not_offer_is_told_before_anything_is_trained(
    federation: ConnectedFederation, tmp_path: Path
) -> None:
    file = tmp_path / "wanting.py"
    file.write_text(KEPT.read_text().replace('name="kept"', 'name="wanting", envoys=("alice", "bob"), device="cuda"'))
    experiment = hansa.load_experiment(file).experiment
    with pytest.raises(hansa.errors.RunFailed, match=r"(alice|bob): the experiment needs another device"):
        federation.run(experiment, source=file)
    perhaps = file.read_text().replace('"cuda"', '"cuda if there"')
    file.write_text(perhaps)
    assert federation.run(hansa.load_experiment(file).experiment, source=file).status().phase == "finished"


def simulated_data() -> hansa.FederatedData:
    """What Alice and Bob hold."""
    from hansa.testing import blobs

    clouds, clients = blobs(), {"alice": "0", "bob/a": "1", "bob/b": "2"}
    return hansa.FederatedData(
        {client: clouds[cloud] for client, cloud in clients.items()},
        {client: clouds.test[cloud] for client, cloud in clients.items()},
    )
