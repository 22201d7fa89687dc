"""From nothing to a model by the commands alone: init, issue, enroll, start, submit, review, download, stop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hansa.runtime.local import free_port

if TYPE_CHECKING:
    from tests.integration.conftest import Shell

EXPERIMENT = """\
import hansa

model = hansa.NumpyMLP((4, 2))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=10, steps=5)
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=2), name="first")
"""


SHARD = """\
import numpy as np
import hansa
from hansa.data.shards import ShardDescriptor

class Made(ShardDescriptor):
    schema = {"x": hansa.Field((2,), "float32")}
    def __init__(self, who: str, seed: int): self.said = f"{who} {seed}"
    def describe(self): return self.said
    def train(self): return hansa.ClientDataset({"x": np.zeros((3, 2), np.float32)})
"""


@contextmanager
def started(shell: Shell, kind: str, folder: Path, once: str) -> Iterator[subprocess.Popen[str]]:
    """A long-lived process, once its log says something; it is ended in the end."""
    command = [sys.executable, "-m", "hansa", kind, "start", str(folder), "--log-format", "json"]
    process = subprocess.Popen(command, env=shell.environment(), stderr=subprocess.PIPE, encoding="utf-8")
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if once in lines[-1]["message"]:
                break
        else:
            raise AssertionError(lines)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_federation_from_nothing_to_its_first_model(shell: Shell, tmp_path: Path) -> None:
    address, d, anna, carol = f"127.0.0.1:{free_port()}", tmp_path / "d", tmp_path / "anna", tmp_path / "carol"

    def hansa(*arguments: str | Path, code: int = 0) -> str:
        ended = shell.hansa(*arguments, cwd=tmp_path)
        assert ended.code == code, ended.err + ended.out
        return ended.out if code == 0 else ended.err

    hansa("director", "init", d, "--address", address)
    hansa("pki", "issue", "anna", "--role", "envoy", "--authority", d)
    hansa("pki", "issue", "carol", "--role", "user", "--authority", d)
    assert "nothing listens there" in hansa("pki", "enroll", "anna.invitation", anna / "identity", code=1)
    hansa("envoy", "init", anna, "--name", "anna", "--director", address, "--shard", "ward:Ward")
    assert "EXAMPLE" in (anna / "ward.py").read_text()
    (tmp_path / "first.py").write_text(EXPERIMENT)

    with started(shell, "director", d, "listening on") as director:
        hansa("pki", "enroll", "anna.invitation", anna / "identity")
        hansa("pki", "enroll", "carol.invitation", carol)
        assert "was used already" in hansa("pki", "enroll", "carol.invitation", tmp_path / "eve", code=1)
        with started(shell, "envoy", anna, "in session") as envoy:
            me = ("--identity", carol)
            run = json.loads(hansa("experiment", "submit", "first.py", *me, "--envoy", "anna", "--detach", "--json"))
            following = subprocess.Popen(
                [sys.executable, "-m", "hansa", "experiment", "logs", run["run"], "--follow", *map(str, me)],
                env=shell.environment(),
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
            assert following.stdout is not None
            assert any("waits for the approval of anna" in line for line in following.stdout)
            (offer,) = json.loads(hansa("envoy", "review", anna, "--json"))
            assert (offer["hash"], offer["signers"]) == (run["hash"], ["carol"])
            shown = hansa("envoy", "review", anna, run["hash"][:12])
            assert EXPERIMENT.strip() in shown
            assert "--approve" in shown
            hansa("envoy", "review", anna, run["hash"], "--approve")
            assert "round    2  train" in following.communicate()[0]
            fetched = json.loads(hansa("experiment", "download", run["run"], tmp_path / "out", *me, "--json"))
            assert fetched["rounds"] == 2

            (tmp_path / "first.py").write_text(EXPERIMENT.replace("rounds=2", "rounds=3"))
            other = json.loads(hansa("experiment", "submit", "first.py", *me, "--envoy", "anna", "--detach", "--json"))[
                "run"
            ]
            while not (waiting := json.loads(hansa("envoy", "review", anna, "--json"))):
                pass
            changed = json.loads(hansa("envoy", "review", anna, waiting[0]["hash"], "--refuse", "too long", "--json"))
            assert changed["previous"] == run["hash"]
            assert changed["settings"] == {"rounds": [2, 3]}
            assert (
                "+experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=3)" in changed["changes"][0]["diff"]
            )
            hansa("experiment", "logs", other, "--follow", *me)
            assert "too long" in hansa("experiment", "show", other, *me)

            assert json.loads(hansa("envoy", "stop", anna, "--json"))["was_running"]
            assert envoy.wait() == 0
        assert "has stopped" in hansa("director", "stop", d)
        assert director.wait() == 0
    assert hansa("director", "stop", d) == f"no Director was running in {d}\n"


def test_an_expired_certificate_and_a_wrong_folder_say_what_to_do(shell: Shell, tmp_path: Path) -> None:
    ca, mine, csr = tmp_path / "ca", tmp_path / "mine", tmp_path / "a.csr"
    shell.hansa("pki", "init", ca)
    shell.hansa("pki", "enroll", "--request", "anna", mine, "--out", csr)
    signed = ("pki", "issue", "anna", "--role", "user", "--authority", ca, "--csr", csr, "--out", tmp_path / "a.crt")
    assert shell.hansa(*signed).code == 0
    assert shell.hansa("pki", "enroll", "--install", tmp_path / "a.crt", "--ca", ca / "ca.crt", mine).code == 0
    ended = shell.hansa("status", "--identity", mine)
    assert (ended.code, "--director" in ended.err) == (1, True)
    (mine / "key.pem").chmod(0o644)
    found = json.loads(shell.hansa("doctor", mine, "--json").out)
    assert [each["hint"] for each in found["findings"] if each["level"] == "problem"] == [
        f"chmod 600 {mine / 'key.pem'}"
    ]
    for arguments in (("director", "start", tmp_path), ("envoy", "stop", tmp_path), ("doctor", tmp_path)):
        ended = shell.hansa(*arguments)
        assert (ended.code, ended.out) == (1, "")
        assert "init" in ended.err
    nobody = shell.hansa("status", "--json", HANSA_IDENTITY=str(tmp_path / "nobody"))
    assert (nobody.code, nobody.out) == (1, "")
    assert "hansa pki enroll" in nobody.err


def test_a_federation_in_one_command_which_goes_on_later(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(SHARD)
    folder = tmp_path / "all"
    first = up(shell, tmp_path, "--shard", "made:Made", "--envoys", "1", "--parameter", "who={name}", "--parameter")
    assert first == 2  # an option without its value
    asked = ("--shard", "made:Made", "--envoys", "1", "--parameter", "who={name}", "--parameter", "seed={index}")
    assert up(shell, tmp_path, *asked, "--folder", str(folder), says="envoy-1 0") == 0
    assert up(shell, tmp_path, "--folder", str(folder), says="envoy-1 0") == 0
    assert up(shell, tmp_path, *asked, "--folder", str(folder)) == 1


def up(shell: Shell, folder: Path, *arguments: str, says: str = "") -> int:
    """Start a federation, look at its status, and interrupt it; the exit status."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hansa", "federation", "up", "--json", *arguments],
        cwd=folder,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    if says:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        made = json.loads("".join(lines))
        shown = shell.hansa("status", "--identity", made["identity"], cwd=folder).out
        assert says in shown
        process.terminate()
    process.communicate()
    return process.returncode
