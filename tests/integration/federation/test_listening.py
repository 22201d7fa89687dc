"""Workers that listen, coordinated by a script with a Director inside: real processes, real TLS, and the simulator's bits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hansa
from hansa.cli.envoy import init
from hansa.data.owners import Owner
from hansa.pki import Identity
from hansa.protocol import codec
from hansa.protocol.peer import Role
from hansa.runtime.doctor.examination import examine
from hansa.runtime.files import now
from hansa.runtime.local import DIRECTOR, LocalFederation, free_port
from hansa.runtime.user import User

if TYPE_CHECKING:
    from hansa.federation.connected import ConnectedFederation
    from tests.integration.federation.conftest import Live, MakeListening, MakeLive

HERE = Path(__file__).parent
EXPERIMENTS = HERE / "experiments"
AVERAGING, EVALUATED = EXPERIMENTS / "averaging.py", EXPERIMENTS / "evaluated.py"

ALICE = Owner("alice", "shards:One", {"client": "0"}, HERE / "owned")
BOB = Owner("bob", "shards:Two", {"first": "1", "second": "2"}, HERE / "owned")

SPLITS = '''"""Owners who train only, and one who tests only."""
import hansa
from hansa.testing import blobs


class Part(hansa.ShardDescriptor):
    """One cloud's training examples; or, without a cloud, all test examples."""

    schema = {"x": hansa.Field((5,), "float32"), "y": hansa.Field((), "int64", classes=3)}

    def __init__(self, cloud: str = ""):
        self.cloud = cloud

    def train(self):
        return blobs()[self.cloud] if self.cloud else None

    def test(self):
        return None if self.cloud else blobs().test["0"]
'''


def simulated(entry: Path) -> str:
    """The bits of the model that the simulator makes of Alice's and Bob's data."""
    from hansa.testing import blobs

    clouds, clients = blobs(), {"alice": "0", "bob/a": "1", "bob/b": "2"}
    data = hansa.FederatedData(
        {client: clouds[cloud] for client, cloud in clients.items()},
        {client: clouds.test[cloud] for client, cloud in clients.items()},
    )
    return codec.digest(hansa.Federation.simulate(data).run(hansa.load_experiment(entry).experiment).history.model)


def test_a_script_coordinates_workers_and_gets_the_bits_of_the_simulator(make_listening: MakeListening) -> None:
    listening = make_listening()
    experiment = hansa.load_experiment(EVALUATED).experiment
    with listening.connect() as federation:
        envoys = {envoy.name: envoy for envoy in federation.envoys()}
        assert {name: envoy.online for name, envoy in envoys.items()} == {"alice": True, "bob": True}
        assert envoys["bob"].clients.keys() == {"bob/a", "bob/b"}
        assert set(federation.dummy_data(9).clients) == {"alice", "bob/a", "bob/b"}
        run = federation.run(experiment, source=EVALUATED)
        assert codec.digest(run.history.model) == simulated(EVALUATED)
        assert run.status().envoys.keys() == {"alice", "bob"}
        other = federation.run(experiment, source=EVALUATED)  # the first is over: this is another
        assert other.id != run.id
        assert [each.id for each in federation.runs()] == [run.id, other.id]
    federation.close()  # a second time changes nothing
    with pytest.raises(hansa.errors.NotConnected, match="closed"):
        run.status()
    with listening.connect() as again:
        assert codec.digest(again.run_by_id(run.id).model()) == simulated(EVALUATED)


def test_a_run_that_was_under_way_goes_on_unless_another_one_is_wanted(make_listening: MakeListening) -> None:
    listening = make_listening(envoy={'policy = "auto"': 'policy = "ask"'})  # so that it waits for them
    experiment = hansa.load_experiment(AVERAGING).experiment
    with listening.connect() as federation:
        first = federation.run(experiment, source=AVERAGING, wait=False, callbacks=())
    with listening.connect() as federation:
        assert federation.run(experiment, source=AVERAGING, wait=False, callbacks=()).id == first.id
        changed = hansa.load_experiment(EVALUATED).experiment
        assert federation.run(changed, source=EVALUATED, wait=False, callbacks=()).id != first.id
        other = federation.run(experiment, source=AVERAGING, wait=False, callbacks=(), again=True)
        assert other.id != first.id
        federation.run_by_id(first.id).cancel("enough")
        assert federation.run(experiment, source=AVERAGING, wait=False, callbacks=()).id == other.id


def test_an_evaluator_holds_test_data_and_never_trains(make_listening: MakeListening, tmp_path: Path) -> None:
    (tmp_path / "splits.py").write_text(SPLITS)
    owners = [Owner(name, "splits:Part", {"cloud": cloud}, tmp_path) for name, cloud in (("alice", "0"), ("bob", "1"))]
    listening = make_listening([*owners, Owner("testing", "splits:Part", {}, tmp_path)])
    with listening.connect() as federation:
        history = federation.run(hansa.load_experiment(EVALUATED).experiment, source=EVALUATED).history
    asked = {work: {c for e in history.entries if e.work == work for c in e.outcomes} for work in ("train", "evaluate")}
    assert asked == {"train": {"alice", "bob"}, "evaluate": {"testing"}}
    assert {entry.model for entry in history.evaluations()} == {"federated", "alice", "bob"}


def test_without_certificates_on_this_machine(tmp_path: Path) -> None:
    owned, port = HERE / "owned", free_port()
    url = f"ws://127.0.0.1:{port}"
    folder, cli = tmp_path / "alice", [sys.executable, "-m", "hansa", "envoy"]
    what = ["--name", "someone", "--shard", "shards:One", "--parameter", 'client="0"', "--listen", "wss://0.0.0.0:8777"]
    subprocess.run([*cli, "init", str(folder), *what], check=True, capture_output=True)
    file = folder / "envoy.toml"
    text = file.read_text().replace('policy = "ask"', 'policy = "auto"').replace('folder = "."', f'folder = "{owned}"')
    file.write_text(text)
    start = [*cli, "start", "--listen", url, "--id", "alice", "--insecure"]
    with subprocess.Popen(start, cwd=folder, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        assert any(f"listening on {url}" in line for line in worker.stderr)
        try:
            with hansa.Federation.connect([url], journal=tmp_path / "journal") as federation:
                history = federation.run(hansa.load_experiment(AVERAGING).experiment, source=AVERAGING).history
                assert {client for entry in history.entries for client in entry.outcomes} == {"alice"}
                with pytest.raises(hansa.errors.ConfigError, match="is among the workers twice"):
                    hansa.Federation.connect([url, url], journal=tmp_path / "other")
        finally:
            worker.terminate()
            worker.stderr.read()


@pytest.mark.parametrize(
    ("workers", "options", "kind", "said"),
    [
        (["wss://a:1"], {}, hansa.errors.ConfigError, "nobody says where this script keeps its journal"),
        ([], {"journal": "j"}, hansa.errors.ConfigError, "there are no workers to connect to"),
        (["a:1"], {"journal": "j"}, hansa.errors.ConfigError, "expected wss://host:port, found 'a:1'"),
        (["ws://a:1"], {"journal": "j"}, hansa.errors.ConfigError, "is without TLS, which is for this machine only"),
        (["ws://[::1]:1", "wss://a:1"], {"journal": "j"}, hansa.errors.ConfigError, "wss://a:1 is reached with them"),
        (["wss://a:1"], {"journal": "j"}, hansa.errors.CertificateError, "no Director's identity in this folder"),
        ("a:1", {"journal": "j"}, hansa.errors.ConfigError, "a Director has a journal of its own"),
    ],
)
def test_what_cannot_be_is_told_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: list[str] | str,
    options: dict[str, str],
    kind: type[Exception],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=said):
        hansa.Federation.connect(workers, **options)


@pytest.mark.parametrize(("director", "listen"), [("", ""), ("a:1", "wss://a:2")])
def test_an_envoy_is_made_to_dial_or_to_listen(tmp_path: Path, director: str, listen: str) -> None:
    with pytest.raises(hansa.errors.ConfigError, match="an Envoy either dials or listens"):
        init(tmp_path / "envoy", name="a", shard="ward:Ward", director=director, listen=listen)
    assert not (tmp_path / "envoy").exists()


def test_one_journal_has_one_coordinator(make_listening: MakeListening) -> None:
    listening = make_listening()
    with listening.connect() as federation:
        with pytest.raises(hansa.errors.StoreError, match="in use by this process"):
            listening.connect()
        script = listening.script(AVERAGING)
        _, said = script.communicate(timeout=120)
        assert script.returncode == 1
        assert "in use by process" in said
        assert (
            federation.run(hansa.load_experiment(AVERAGING).experiment, source=AVERAGING).status().phase == "finished"
        )


def test_the_doctor_looks_at_a_worker_that_listens(make_listening: MakeListening) -> None:
    listening = make_listening([ALICE], up=False)
    folder, where = listening.local.folder / "alice", listening.workers[0].removeprefix("wss://")

    def found() -> dict[str, str]:
        return {each.check: each.found for each in examine(folder, now=now()).findings}

    before = found()
    assert before["port"] == f"{where} is free"
    assert "Director" not in before, "there is none to dial"
    listening.local.up()
    assert found()["port"].startswith(f"{where} is used by the Envoy itself, process ")


# --- a Director that does all of it at once


def test_a_director_takes_every_way_in_and_a_revocation_reaches_them_all(
    make_live: MakeLive, make_listening: MakeListening
) -> None:
    web = free_port()
    listening = make_listening([BOB], up=False)
    live: Live = make_live([ALICE], director={'websocket = ""': f'websocket = "127.0.0.1:{web}"'})
    bob, carol = listening.local.folder / "bob", live.local.folder / "carol"
    give(live.local, bob / "identity", "bob")
    listening.local.up()
    live.local.add(Owner("carol", "shards:One", {"client": "2"}, HERE / "owned"))
    file = carol / "envoy.toml"
    file.write_text(
        file.read_text().replace(f'director = "{live.local.address}"', f'director = "wss://127.0.0.1:{web}"')
    )
    live.local.start("carol")
    settings = live.local.folder / DIRECTOR / "director.toml"
    settings.write_text(settings.read_text().replace("workers = []", f'workers = ["{listening.workers[0]}"]'))
    live.restart(DIRECTOR)
    live.online("alice", "bob", "carol")
    address, mine = f"wss://127.0.0.1:{web}", live.local.folder / "user"
    with hansa.Federation.connect(address, identity=mine) as federation:
        experiment = replace(hansa.load_experiment(AVERAGING).experiment, at_least=3)
        run = federation.run(experiment, source=AVERAGING)
        clients = {client for entry in run.history.entries for client in entry.outcomes}
        assert clients == {"alice", "bob/a", "bob/b", "carol"}
        for name in ("bob", "carol"):
            live.local.authority.revoke(name, now=now())
            live.until(f"{name} is out", partial(away, federation, name))
    assert live.local.processes["carol"].wait(60) == 1
    assert "revoked" in live.log("carol")
    live.until("the worker says so", lambda: "revoked" in listening.log("bob"))
    assert listening.local.processes["bob"].poll() is None, "another Director may dial it"
    live.local.processes.pop("carol")
    with User(address, Identity.load(mine, now=now())) as user:
        assert [each["name"] for each in user.overview()["envoys"] if each["online"]] == ["alice"]


def away(federation: ConnectedFederation, name: str) -> bool:
    """Whether an Envoy is not in session."""
    return not any(envoy.online for envoy in federation.envoys() if envoy.name == name)


def give(federation: LocalFederation, folder: Path, name: str) -> None:
    """Another authority's certificate for somebody."""
    certificate = federation.authority.sign(Identity.request(folder, name), name, Role.ENVOY, now=now())
    Identity.install(folder, certificate, federation.authority.certificate)
