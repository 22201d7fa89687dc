"""The commands in a federation that is there: experiments, status, the doctor; as processes, as a user has them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import hansa
from hansa.cli import app
from hansa.data.owners import Owner
from hansa.errors import HansaError
from hansa.protocol.peer import Role
from hansa.runtime.local import LocalFederation
from hansa.runtime.remembered import remember

if TYPE_CHECKING:
    from tests.integration.conftest import Shell

SHARD = """\
import hansa
from hansa.data.shards import ShardDescriptor
from hansa.testing import blobs

class Blob(ShardDescriptor):
    schema = {"x": hansa.Field((5,), "float32"), "y": hansa.Field((), "int64", classes=3)}
    def __init__(self, client: str): self.client = client
    def train(self): return blobs()[self.client]
    def test(self): return blobs().test[self.client]
"""

EXPERIMENT = """\
import hansa
from hansa.testing import blobs

data = blobs
model = hansa.NumpyMLP((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
evaluation = hansa.Evaluation(model, {"accuracy": hansa.accuracy})
experiment = hansa.Experiment(model, hansa.Evaluated(hansa.FedAvg(local, rounds=2), evaluation), seed=1, name="tiny")
"""

FAILING = (
    EXPERIMENT
    + """
def fail(broadcast, context):
    raise ValueError("a secret of the data")

from dataclasses import dataclass

@dataclass(frozen=True)
class Fails:
    buffers: frozenset = frozenset()
    def __call__(self, broadcast, context):
        return fail(broadcast, context)

experiment = hansa.Experiment(model, hansa.FedAvg(Fails(), rounds=1), name="fails")
"""
)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    home = tmp_path_factory.mktemp("federation")
    (home / "shard.py").write_text(SHARD)
    (home / "tiny.py").write_text(EXPERIMENT)
    (home / "fails.py").write_text(FAILING)
    owners = [Owner(name, "shard:Blob", {"client": c}, home) for name, c in (("alice", "0"), ("bob", "1"))]
    with LocalFederation(home / "all", owners) as made:
        made.create()
        for name, role in (("dora", Role.USER), ("root", Role.ADMIN)):
            made.identify(made.folder / name, name, role)
            remember(made.folder / name, made.address)
        made.up()
        yield made


class At:
    """`hansa` in somebody's name: in this process, because starting another takes longer than most commands do."""

    def __init__(self, shell: Shell, federation: LocalFederation) -> None:
        self.shell, self.federation, self.home = shell, federation, federation.folder.parent

    def __call__(self, *arguments: str | Path, code: int = 0, as_: str = "user") -> str:
        """Standard output; of a command that fails, the error."""
        environment = {"HANSA_IDENTITY": str(self.federation.folder / as_)}
        ended = CliRunner().invoke(app, [str(each) for each in arguments], env=environment)
        if ended.exception is not None and not isinstance(ended.exception, HansaError | SystemExit):
            raise ended.exception
        assert ended.exit_code == code, ended.output + str(ended.exception)
        return ended.stdout if code == 0 else str(ended.exception)

    def json(self, *arguments: str | Path, as_: str = "user") -> Any:
        """The document, which is all that is on standard output."""
        return json.loads(self(*arguments, "--json", as_=as_))


@pytest.fixture
def at(shell: Shell, federation: LocalFederation) -> At:
    return At(shell, federation)


@pytest.fixture(scope="module")
def run(shell: Shell, federation: LocalFederation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run that has finished, as `submit --json` describes it."""
    out = tmp_path_factory.mktemp("out")
    file, identity = federation.folder.parent / "tiny.py", federation.folder / "user"
    chosen = ("--envoy", "alice", "--envoy", "bob", "--identity", identity)
    ended = shell.hansa("experiment", "submit", file, *chosen, "--out", out, "--json")
    assert (ended.code, ended.err) == (0, "")
    return {**json.loads(ended.out), "out": out}


def test_a_run_ends_with_its_model_which_can_be_had_again(at: At, run: dict[str, Any], tmp_path: Path) -> None:
    assert (run["rounds"], run["seed"]) == (2, 1)
    assert hashlib.sha256((run["out"] / "model.safetensors").read_bytes()).hexdigest() == run["model_sha256"]
    again = at.json("experiment", "download", run["run"], tmp_path)
    assert again["model_sha256"] == run["model_sha256"]
    assert hansa.load_results(tmp_path).final("accuracy") > 0.5


def test_the_same_file_in_the_simulator_takes_the_same_steps(at: At, run: dict[str, Any]) -> None:
    simulated = json.loads(at("run", at.home / "tiny.py", "--json"))
    assert [(e["round"], e["work"]) for e in simulated["entries"]] == [(e["round"], e["work"]) for e in run["entries"]]


def test_what_was_run_can_be_seen(at: At, run: dict[str, Any]) -> None:
    (listed,) = [each for each in at.json("experiment", "list") if each["run"] == run["run"]]
    assert (listed["phase"], listed["owner"], listed["name"]) == ("finished", "user", "tiny")
    assert at.json("experiment", "show", run["run"])["model"]["sha256"] == run["model_sha256"]
    assert "finished" in at("experiment", "show", run["run"])
    told = at.json("experiment", "logs", run["run"])
    assert len(told["entries"]) == len(run["entries"])
    lines = at("experiment", "logs", run["run"], "--follow").splitlines()
    assert lines[0].startswith("round    0  evaluate federated")
    assert len(lines) == len(run["entries"])


def test_another_user_sees_a_run_once_it_is_shared(at: At, run: dict[str, Any]) -> None:
    assert f"there is no run {run['run']!r}" in at("experiment", "show", run["run"], code=1, as_="dora")
    assert at.json("experiment", "share", run["run"], "dora")["shared"] == ["dora"]
    assert at.json("experiment", "show", run["run"], as_="dora")["run"] == run["run"]
    assert "belongs to 'user'" in at("experiment", "cancel", run["run"], code=1, as_="dora")
    assert "only an admin" in at("experiment", "approve", run["run"], code=1)


def test_a_dry_run_says_what_would_be_shipped_and_who_would_take_part(at: At) -> None:
    before = at.json("experiment", "list")
    found = at.json("experiment", "submit", at.home / "tiny.py", "--envoy", "alice", "--envoy", "carol", "--dry-run")
    assert found["takes_part"] == ["alice"]
    assert found["left_out"] == {"bob": "not chosen by name", "carol": "never seen here"}
    assert (found["at_least"], found["enough"]) == (2, False)
    assert [each["path"] for each in found["manifest"]["files"]] == ["tiny.py"]
    assert found["manifest"]["rounds"] == 2
    shown = at(
        "experiment", "submit", at.home / "tiny.py", "--dry-run", "--include", "shard.py", "--label", "country=de"
    )
    assert "shard.py" in shown
    assert "lacks country=de" in shown
    assert at.json("experiment", "list") == before


def test_a_failure_is_told_with_its_line_and_without_its_text(at: At) -> None:
    said = at("experiment", "submit", at.home / "fails.py", "--envoy", "alice", code=1)
    run = at.json("experiment", "list")[-1]["run"]
    assert f"hansa experiment logs {run}" in said
    shown = at("experiment", "logs", run)
    assert "ValueError" in shown
    assert "fails.py" in shown
    assert "secret" not in shown
    assert at.json("experiment", "remove", run) == {"run": run, "removed": True}


def test_a_run_that_waits_is_followed_left_alone_and_cancelled(at: At, shell: Shell) -> None:
    asked = ("--envoy", "alice", "--envoy", "carol", "--identity", at.federation.folder / "user")
    ended = shell.interrupted("experiment", "submit", at.home / "tiny.py", *asked, once="waits for Envoys")
    run = ended.out.split()[2]
    assert ended.code == 130
    assert "the run goes on" in ended.out
    assert f"hansa experiment logs {run} --follow" in ended.out
    assert ended.err == ""
    assert at.json("experiment", "show", run)["phase"] == "gathering"
    assert at.json("experiment", "cancel", run)["phase"] == "cancelled"
    again = at.json("experiment", "submit", at.home / "tiny.py", "--envoy", "carol", "--detach")
    assert at("experiment", "cancel", again["run"], as_="root") == f"cancelled {again['run']}\n"


def test_the_status_shows_everybody(at: At, run: dict[str, Any]) -> None:
    overview = at.json("status")
    assert [(each["name"], each["online"]) for each in overview["envoys"]] == [("alice", True), ("bob", True)]
    shown = at("status")
    assert "online for" in shown
    assert run["run"] in shown


@pytest.mark.parametrize("whose", ["director", "alice", "user"])
def test_the_doctor_finds_a_running_federation_well(at: At, whose: str) -> None:
    found = at.json("doctor", at.federation.folder / whose)
    assert found["healthy"]
    levels = {each["check"]: each["level"] for each in found["findings"]}
    assert {"versions", "certificate", "private files"} <= levels.keys()
    assert levels.get("clock", "ok") == "ok"
    assert ("data" in levels, "Director" in levels) == (whose == "alice", whose != "director")


def test_an_owner_can_check_their_data_while_the_envoy_runs(at: At) -> None:
    assert at.json("envoy", "check", at.federation.folder / "alice")["clients"] == {"alice": {"train": 24, "test": 12}}


def test_a_store_is_for_one_process_and_a_port_for_one_director(at: At, shell: Shell, tmp_path: Path) -> None:
    ended = shell.hansa("director", "start", at.federation.folder / "director")
    assert (ended.code, "in use by process" in ended.err) == (1, True)
    at("director", "init", tmp_path / "other", "--address", at.federation.address)
    ended = shell.hansa("director", "start", tmp_path / "other", "--log-format", "json")
    (*_, last) = ended.err.splitlines()
    line = json.loads(last)
    assert (ended.code, line["level"], line["logger"]) == (1, "critical", "hansa")
    assert "is in use already" in line["message"]
    found = json.loads(shell.hansa("doctor", tmp_path / "other", "--json").out)
    assert [each["check"] for each in found["findings"] if each["level"] == "problem"] == ["port"]


def test_who_is_of_another_federation_is_told_so(at: At, tmp_path: Path) -> None:
    ca, eve, csr, crt = (tmp_path / name for name in ("ca", "eve", "eve.csr", "eve.crt"))
    at("pki", "init", ca)
    at("pki", "enroll", "--request", "eve", eve, "--out", csr)
    at("pki", "issue", "eve", "--role", "user", "--authority", ca, "--csr", csr, "--out", crt)
    at("pki", "enroll", "--install", crt, "--ca", ca / "ca.crt", eve, "--director", at.federation.address)
    assert "another authority" in at("status", "--identity", eve, code=1)
    at("doctor", eve, code=1)


def test_a_local_federation_ends_with_whoever_started_it_even_when_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, hansa, threading; from pathlib import Path\n"
        "owner = hansa.Owner('alice', 'shards:Cloud', {'number': 0}, Path(sys.argv[1]))\n"
        "federation = hansa.LocalFederation(Path(sys.argv[1]) / 'federation', [owner])\n"
        "federation.create(); federation.up()\n"
        "print(*(process.pid for process in federation.processes.values()), flush=True)\n"
        "threading.Event().wait()\n"
    )
    (tmp_path / "shards.py").write_text(
        "import hansa\nfrom hansa.testing import blobs\n\n\n"
        "class Cloud(hansa.ShardDescriptor):\n"
        "    schema = {'x': hansa.Field((5,), 'float32'), 'y': hansa.Field((), 'int64', classes=3)}\n\n"
        "    def __init__(self, number):\n        self.number = str(number)\n\n"
        "    def train(self):\n        return blobs()[self.number]\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pids = [int(pid) for pid in starter.stdout.readline().split()]
    starter.kill()
    starter.wait()
    starter.stdout.close()
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "the Director or the Envoy outlived who started them"
        threading.Event().wait(0.05)
