"""What Envoys offer, what experiments require of them, and how a client's training is bounded: with real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hansa
from hansa.cli import app
from hansa.data.owners import Owner
from hansa.runtime import machine
from hansa.runtime.local import LocalFederation
from hansa.testing import blobs

OWNED = Path(__file__).parent / "owned"
ALICE, BOB = Owner("alice", "shards:One", {"client": "0"}, OWNED), Owner("bob", "shards:One", {"client": "1"}, OWNED)
NICE = 7

SAYS = '''"""Each client tells how it is bounded, and trains nothing."""
import os
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_info

import hansa
from hansa.experiment.requires import Requires


@dataclass(frozen=True)
class Bounded:
    buffers: frozenset[str] = frozenset()

    def __call__(self, broadcast, context):
        seen = {
            "pool": max(pool["num_threads"] for pool in threadpool_info()),
            "variable": int(os.environ.get("OMP_NUM_THREADS", 0)),
            "nice": os.nice(0),
            "processors": len(os.sched_getaffinity(0)),
        }
        metrics = hansa.Metrics({name: hansa.Mean.of(value) for name, value in seen.items()})
        return hansa.Update({name: np.zeros_like(leaf) for name, leaf in broadcast.items()}, metrics=metrics)


experiment = hansa.Experiment(hansa.NumpyMLP((5, 3)), hansa.FedAvg(Bounded(), rounds=1), requires=REQUIRED, name="says")
'''


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """Alice lets experiments use two threads and 2 GiB, Bob one thread and 512 MiB."""

    def change(text: str) -> str:
        if 'name = "alice"' in text:
            return text.replace("threads = 1", "threads = 2").replace('"8 GiB"', '"2 GiB"')
        return text.replace('"8 GiB"', '"512 MiB"').replace("nice = 5", f"nice = {NICE}")

    folder = tmp_path_factory.mktemp("resources") / "f"
    with LocalFederation(folder, [ALICE, BOB], change_envoy=change) as made:
        made.create()
        made.up()
        yield made


def submitted(local: LocalFederation, file: Path, required: str) -> hansa.Run:
    file.write_text(SAYS.replace("REQUIRED", required))
    federation = hansa.Federation.connect(local.address, identity=local.folder / "user")
    return federation.run(hansa.load_experiment(file).experiment, source=file)


def test_envoys_say_what_they_offer(local: LocalFederation) -> None:
    with hansa.Federation.connect(local.address, identity=local.folder / "user") as federation:
        alice, bob = federation.envoys()
    assert (alice.cores, alice.memory) == (min(2, machine.cores()), min(2 * 2**30, machine.memory()))
    assert (bob.cores, bob.memory) == (1, 512 * 2**20)


def test_the_status_shows_it(local: LocalFederation) -> None:
    identity = str(local.folder / "user")
    said = (
        CliRunner()
        .invoke(app, ["status", "--director", local.address, "--identity", identity], env={"COLUMNS": "200"})
        .output
    )
    assert "cpu, 1 core, 512.0 MiB" in said


def test_a_clients_training_is_bounded(local: LocalFederation, tmp_path: Path) -> None:
    """One after the other, since the bounds of both are means in one entry."""
    for name, threads, nice in (("alice", min(2, machine.cores()), 5), ("bob", 1, NICE)):
        required = f'Requires(), envoys=("{name}",)'
        (entry,) = submitted(local, tmp_path / "says.py", required).history.entries
        seen = {metric: entry.metrics[metric].value for metric in ("pool", "variable", "nice", "processors")}
        expected = 2 if name == "alice" else 1
        nicer = min(os.nice(0) + nice, 19)
        assert seen == {"pool": expected, "variable": expected, "nice": nicer, "processors": threads}


@pytest.mark.parametrize(
    ("required", "why"),
    [
        ('Requires(memory="1 GB")', "has 537 MB of memory, 1 GB are required"),
        ('Requires(device="cuda")', "offers cpu, and cuda is required"),
        pytest.param(
            "Requires(cores=2)",
            "has 1 core, 2 are required",
            marks=pytest.mark.skipif(machine.cores() < 2, reason="this machine has one processor"),
        ),
    ],
)
def test_who_offers_too_little_is_not_asked(local: LocalFederation, tmp_path: Path, required: str, why: str) -> None:
    file = tmp_path / "says.py"
    file.write_text(SAYS.replace("REQUIRED", required))
    identity = ["--director", local.address, "--identity", str(local.folder / "user")]
    dry = CliRunner().invoke(app, ["experiment", "submit", str(file), "--dry-run", *identity]).output
    assert f"bob: {why}" in dry or ("bob" in dry and why in dry), dry
    if "device" in required:
        return  # nobody has one: the run would wait
    history = submitted(local, file, required).history
    assert [sorted(entry.outcomes) for entry in history.entries] == [["alice"]]


def test_a_run_that_nobody_suits_says_why_it_waits(local: LocalFederation, tmp_path: Path) -> None:
    file = tmp_path / "says.py"
    file.write_text(SAYS.replace("REQUIRED", 'Requires(device="cuda")'))
    with hansa.Federation.connect(local.address, identity=local.folder / "user") as federation:
        run = federation.run(hansa.load_experiment(file).experiment, source=file, wait=False)
        said = run.status()
        run.cancel()
    assert "alice: offers cpu, and cuda is required" in said.why
    assert "bob: offers cpu, and cuda is required" in said.why


def test_a_simulation_leaves_it_out_of_account(tmp_path: Path) -> None:
    file = tmp_path / "says.py"
    file.write_text(SAYS.replace("REQUIRED", "Requires(cores=100000)"))
    data = hansa.FederatedData({"alice": blobs()["0"]})
    assert len(hansa.Federation.simulate(data).run(hansa.load_experiment(file).experiment).history.entries) == 1
