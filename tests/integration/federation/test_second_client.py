"""A client that was written from docs/protocol.md alone takes part in a real federation, beside two of Hansa's own Envoys.

It is a process of its own that can import nothing of Hansa (tests/protocol/second_client), enrols with its own certificate,
and computes with NumPy what Hansa's Envoys compute with theirs: the model must have the same bits.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import hansa
from hansa.data.owners import Owner
from hansa.protocol import codec
from hansa.protocol.messages import Request
from hansa.protocol.peer import Role
from hansa.runtime.config import DirectorConfig
from hansa.runtime.director.core import SILENCE
from hansa.runtime.files import now
from hansa.runtime.local import DIRECTOR, free_port
from hansa.testing import blobs

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live, MakeLive

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the second client checks signatures with openssl"
)

HERE = Path(__file__).parent
ENTRY, OWNED = HERE / "experiments" / "softmax.py", HERE / "owned"
SECOND = HERE.parents[1] / "protocol"
PATIENCE = 120.0
"""Seconds after which a second client is taken to hang; it only ends tests that would never end."""
CLIENTS = {"alice": "0", "bob": "1", "carol": "2"}


@dataclass
class Second:
    """The second client's process.

    Attributes:
        process: itself.
        said: what it has told so far.
    """

    process: subprocess.Popen[str]
    said: list[dict[str, Any]] = field(default_factory=list)

    def until(self, what: str) -> dict[str, Any]:
        """Read on until it tells this, and return what it told."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))
            if what in self.said[-1]:
                return self.said[-1]
        pytest.fail(f"it ended with {self.process.wait()} before it told of {what!r}: {self.said[-5:]}")

    def ended(self) -> None:
        """Read on to its end, which must be a good one."""
        told = self.until("imported")
        assert self.process.wait(30) == 0
        assert told == {"imported": []}

    def all(self, what: str) -> list[dict[str, Any]]:
        """Everything that it told of this."""
        return [each for each in self.said if what in each]


Start = Callable[..., Second]


@pytest.fixture(scope="module")
def three(make_live: MakeLive) -> Live:
    """Alice, Bob and Carol with Hansa's own Envoys; the Director listens for WebSocket too."""
    owners = [Owner(name, "shards:One", {"client": cloud}, OWNED) for name, cloud in CLIENTS.items()]
    dialled, worker = f"127.0.0.1:{free_port()}", f"wss://127.0.0.1:{free_port()}"
    return make_live(
        owners, director={'websocket = ""': f'websocket = "{dialled}"', "workers = []": f'workers = ["{worker}"]'}
    )


@pytest.fixture(scope="module")
def expected(three: Live) -> hansa.History:
    """What the three of them learn; then Carol's own Envoy stops, to make room for the second client."""
    history = three.finished(three.submit(ENTRY))
    three.local.kill("carol", signal.SIGTERM)
    return history


@pytest.fixture
def carol(three: Live, expected: hansa.History, tmp_path: Path) -> Iterator[Start]:
    """Starts the second client in Carol's place."""
    started: list[Second] = []
    timers: list[threading.Timer] = []
    folder = tmp_path / "carol"
    held, name = blobs(), CLIENTS["carol"]

    def start(way: str = "websocket", **settings: Any) -> Second:
        if not folder.exists():
            folder.mkdir()
            invited = three.local.authority.invite(
                "carol", Role.ENVOY, address=three.local.address, now=now(), again=True
            )
            (folder / "carol.invitation").write_text(invited.to_text())
            splits = {"train": held[name].all(), "test": held.test[name].all()}
            arrays: dict[str, Any] = {f"{s}_{n}": each[n] for s, each in splits.items() for n in ("x", "y")}
            np.savez(folder / "data.npz", **arrays)
        config = {
            "name": "carol",
            **ways(three)[way],
            "identity": str(folder / "identity"),
            "invitation": str(folder / "carol.invitation"),
            "store": str(folder / "store"),
            "data": str(folder / "data.npz"),
            "recipes": {sha(ENTRY): {"rate": 0.1, "batch": 8, "steps": 5}},
            "chunk": 2**20,
            "cut": 0,
            "runs": 1,
            **settings,
        }
        (folder / "settings.json").write_text(json.dumps(config))
        with (folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "second_client", str(folder / "settings.json")],
                cwd=SECOND,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        started.append(Second(process))
        timers.append(threading.Timer(PATIENCE, process.kill))
        timers[-1].start()
        return started[-1]

    yield start
    for timer in timers:
        timer.cancel()
    for each in started:
        each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()
    with three.person("healer", Role.ADMIN) as admin:
        for run in admin.overview()["runs"]:
            if run["phase"] not in ("finished", "failed", "cancelled"):
                admin.about(run["run"], Request.CANCEL)


WAYS = ["listening", "websocket", "grpc"]


def ways(live: Live) -> dict[str, dict[str, str]]:
    """Of each way to reach its Director the second client's settings. One that listens dials once, to enrol."""
    config = DirectorConfig.load(live.local.folder / DIRECTOR / "director.toml")
    grpc, websocket = live.local.address, f"wss://{config.websocket}"
    return {
        "grpc": {"director": grpc},
        "websocket": {"director": websocket},
        "listening": {"director": websocket, "listen": config.workers[0]},
    }


def sha(file: Path) -> str:
    """The sha256 of a file, by which the second client knows an experiment."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("way", WAYS)
def test_the_model_has_the_bits_of_three_envoys_of_hansa(
    three: Live, carol: Start, expected: hansa.History, way: str
) -> None:
    second = carol(way)
    if way == "listening":
        second.until("listening")
        three.restart(DIRECTOR)  # it would dial within 15 s; when it is started it dials at once
    second.until("heard")
    found = three.finished(three.submit(ENTRY))
    second.ended()
    assert codec.digest(found.model) == codec.digest(expected.model) == three.simulated(ENTRY, CLIENTS)
    assert found.series("accuracy") == expected.series("accuracy")
    assert found.series("loss") == expected.series("loss")
    assert [each.outcomes.keys() for each in found.entries] == [each.outcomes.keys() for each in expected.entries]
    assert second.all("enrolled")
    assert second.all("signed") == [{"signed": ["user", "user"]}]
    assert {each["status"] for each in second.all("settled")} == {"updated"}


@pytest.mark.parametrize("way", ["grpc", "websocket"])
def test_an_upload_that_was_cut_goes_on_where_it_was(three: Live, carol: Start, way: str) -> None:
    second = carol(way, chunk=32, cut=128)
    run = three.submit(ENTRY)
    assert codec.digest(three.finished(run).model) == three.simulated(ENTRY, CLIENTS)
    second.ended()
    (cut,) = second.all("cut")
    first, again = [each for each in second.all("upload") if each["upload"] == cut["cut"]]
    assert first["offset"] == 0
    assert 0 < cut["there"] <= again["offset"] < again["size"], "what had arrived is not sent again"
    assert second.all("gone")


def test_it_comes_back_when_the_director_is_killed(three: Live, carol: Start) -> None:
    second = carol()
    run = three.submit(ENTRY)
    while second.until("work")["round"] < 2:
        pass
    three.local.kill(DIRECTOR)
    three.local.start(DIRECTOR)
    assert codec.digest(three.finished(run).model) == three.simulated(ENTRY, CLIENTS)
    second.ended()
    assert second.all("gone")


def test_killed_with_an_answer_on_disk_it_sends_that_and_computes_nothing_twice(three: Live, carol: Start) -> None:
    second = carol()
    run = three.submit(ENTRY)
    second.until("kept")
    second.process.kill()
    second.process.wait()
    again = carol()
    assert codec.digest(three.finished(run).model) == three.simulated(ENTRY, CLIENTS)
    again.ended()
    asks = [each["ask"] for each in (*second.all("work"), *again.all("work"))]
    assert len(asks) == len(set(asks))
    assert not again.all("enrolled")


def test_an_experiment_that_its_owner_does_not_know_is_refused(three: Live, carol: Start) -> None:
    second = carol()
    second.until("heard")
    shown = three.over(three.submit(HERE / "experiments" / "averaging.py", envoys=tuple(CLIENTS)))
    assert shown["phase"] == "failed"
    assert "carol: carol does not know this experiment" in shown["why"]
    second.ended()


def test_its_beats_keep_its_session_alive(three: Live, carol: Start) -> None:
    second = carol()
    for _ in range(SILENCE + 2):
        second.until("beat")
    three.online("carol")
    assert not second.all("gone")
    assert len([each for each in second.all("heard") if each["heard"] == "welcome"]) == 1
