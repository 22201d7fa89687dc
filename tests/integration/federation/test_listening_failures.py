"""Coordinators and workers that are killed, interrupted, absent or not who they should be: real processes, the same bits."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hansa
from hansa.federation import connected
from hansa.pki import Authority, Identity
from hansa.protocol import codec
from hansa.protocol.peer import Role
from hansa.runtime.files import now

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Listening, MakeListening

EXPERIMENTS = Path(__file__).parent / "experiments"
SCAFFOLD, AVERAGING = EXPERIMENTS / "scaffold.py", EXPERIMENTS / "averaging.py"

PATIENCE = 120.0
"""Seconds after which a process is taken to hang."""

thorough = pytest.mark.thorough


@pytest.fixture(scope="module")
def undisturbed() -> dict[Path, str]:
    """The bits of the models that the simulator makes of Alice's and Bob's data."""
    from tests.integration.federation.conftest import CLIENTS, simulate

    return {entry: codec.digest(simulate(entry, CLIENTS).model) for entry in (SCAFFOLD, AVERAGING)}


def ended(listening: Listening, entry: Path = SCAFFOLD) -> tuple[str, str]:
    """The run and the bits that a coordinating script prints which nobody disturbs."""
    script = listening.script(entry)
    out, problems = script.communicate(timeout=PATIENCE)
    assert script.returncode == 0, problems
    run, digest = out.split()
    return run, digest


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [
        ("director: Accepted recorded", 1),  # and the script was not told which run it is
        ("director: Came recorded", 5),
        pytest.param("director: Assign not sent", 5, marks=thorough),
        pytest.param("director: Told not recorded", 2, marks=thorough),
        pytest.param("director: Settled not sent", 5, marks=thorough),
    ],
)
def test_a_coordinator_that_was_killed_goes_on_as_a_new_process(
    make_listening: MakeListening, undisturbed: dict[Path, str], point: str, occurrence: int
) -> None:
    from tests.integration.federation.conftest import until

    listening = make_listening()
    pids = {name: process.pid for name, process in listening.local.processes.items()}
    listening.arm(point, occurrence)
    script = listening.script(SCAFFOLD)
    _, problems = script.communicate(timeout=PATIENCE)
    assert script.returncode == -signal.SIGKILL, problems
    until("its Aggregator has gone too", lambda: not any("aggregator:main" in line for line in listening.processes()))
    began = listening.runs()
    run, digest = ended(listening)
    assert digest == undisturbed[SCAFFOLD]
    assert began in ([], [run])
    assert len(listening.runs()) == 1, "another run was begun"
    listening.local.check()
    assert pids == {name: process.pid for name, process in listening.local.processes.items()}, "workers carry on"


@pytest.mark.parametrize(
    "point",
    [
        "envoy: Answered recorded",
        pytest.param("envoy: Assign heard", marks=thorough),
        pytest.param("envoy: Result sent", marks=thorough),
    ],
)
def test_a_worker_that_was_killed_is_dialled_until_it_is_back(
    make_listening: MakeListening, undisturbed: dict[Path, str], point: str
) -> None:
    from tests.integration.federation.conftest import until

    listening = make_listening()
    with listening.connect() as federation:
        listening.arm(point, 4)
        run = federation.run(hansa.load_experiment(SCAFFOLD).experiment, source=SCAFFOLD, wait=False, callbacks=())

        def died() -> list[str]:
            return [name for name, process in listening.local.processes.items() if process.poll() is not None]

        (name,) = until("a worker was killed", died)
        assert listening.local.processes.pop(name).returncode == -signal.SIGKILL
        listening.local.start(name)
        assert codec.digest(run.wait().history.model) == undisturbed[SCAFFOLD]


def test_a_worker_that_is_not_there_yet_is_dialled_on(
    make_listening: MakeListening,
    undisturbed: dict[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(connected, "PATIENCE", 0.0)
    listening = make_listening(up=False)
    listening.local.start("alice")
    with listening.connect() as federation:
        run = federation.run(hansa.load_experiment(AVERAGING).experiment, source=AVERAGING, wait=False, callbacks=())
        bob = listening.local.workers["bob"]
        waits = next(event for event in run.stream() if "waits for Envoys: 1 of at least 2" in event.status.why)
        assert waits.status.phase == "gathering"
        listening.local.start("bob")
        assert codec.digest(run.wait().history.model) == undisturbed[AVERAGING]
    assert f"no worker at {bob}, dialling on" in caplog.text
    assert "nothing listens there" in caplog.text


def test_a_worker_of_another_authority_is_left_alone(make_listening: MakeListening) -> None:
    from tests.integration.federation.conftest import until

    ours, theirs = make_listening(), make_listening()
    with hansa.Federation.connect(theirs.workers[:1] + ours.workers[:1], journal=ours.journal) as federation:
        until("our own is there", lambda: [each.name for each in federation.envoys() if each.online] == ["alice"])
        assert len(federation.envoys()) == 1
    theirs.local.check()
    with theirs.connect() as federation:
        assert {each.name for each in federation.envoys() if each.online} == {"alice", "bob"}


def test_whoever_is_no_director_gets_no_session(
    make_listening: MakeListening, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.integration.federation.conftest import until

    listening = make_listening()
    authority, folder = Authority.open(listening.journal / "authority"), listening.journal / "identity"
    for old in folder.iterdir():
        old.unlink()
    certificate = authority.sign(Identity.request(folder, "mallory"), "mallory", Role.ENVOY, now=now())
    Identity.install(folder, certificate, authority.certificate)
    with listening.connect() as federation:
        until("it was told why", lambda: "'mallory' is no Director" in caplog.text)
        assert federation.envoys() == []


def test_one_whose_data_look_different_is_told_and_listens_on(
    make_listening: MakeListening, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.integration.federation.conftest import until

    monkeypatch.setattr(connected, "PATIENCE", 0.0)
    listening = make_listening()
    settings = listening.journal / "director.toml"
    fields = '[schema.x]\nshape = [7]\ndtype = "float32"\n[schema.y]\nshape = []\ndtype = "int64"\nclasses = 3\n'
    before = settings.read_text()
    settings.write_text(before + fields)
    with listening.connect() as federation:
        until("both were told", lambda: all("no session with it" in listening.log(name) for name in ("alice", "bob")))
        assert not any(envoy.online for envoy in federation.envoys())
        assert "envoy alice is not taken" in caplog.text
    settings.write_text(before)
    with listening.connect() as federation:
        until("both are there", lambda: sum(envoy.online for envoy in federation.envoys()) == 2)
    for name in ("alice", "bob"):
        assert listening.log(name).count("no session with it") == 1, "it is not dialled again and again"


OWN = (
    AVERAGING.read_text()
    + """
import sys

from hansa.protocol import codec

journal, *workers = sys.argv[2:]
with hansa.Federation.connect(workers, journal=journal) as federation:
    run = federation.run(experiment)
    print(run.id, codec.digest(run.history.model))
"""
)
"""A script with its experiment inside, as a scientist writes it."""


def test_so_does_a_script_that_holds_its_experiment(
    make_listening: MakeListening, undisturbed: dict[Path, str]
) -> None:
    listening = make_listening()
    listening.arm("director: Came recorded", 2)
    script = listening.script(AVERAGING, own=OWN)
    script.communicate(timeout=PATIENCE)
    assert script.returncode == -signal.SIGKILL
    began = listening.runs()
    script = listening.script(AVERAGING, own=OWN)
    out, problems = script.communicate(timeout=PATIENCE)
    assert out.split() == [*began, undisturbed[AVERAGING]], problems


# --- interrupted

GATED = '''"""FedAvg whose clients wait until there is a file."""
import threading
from pathlib import Path

import hansa


class Waiting(hansa.NumpyMLP):
    """Learns nothing before it may."""

    def gradient(self, *given):
        """When it may."""
        while not Path({!r}).exists():
            threading.Event().wait(0.02)
        return super().gradient(*given)


model = Waiting((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=2), seed=1, name="averaging")
'''

LEAVES = """
import sys
import threading
from pathlib import Path

import hansa

entry, journal, *workers = sys.argv[1:]
federation = hansa.Federation.connect(workers, journal=journal)
run = federation.run(hansa.load_experiment(Path(entry)).experiment, source=entry, wait=False, callbacks=())
while not run.status().waiting:
    threading.Event().wait(0.02)
"""
"""A script that ends while its run goes on, and closes nothing."""


@pytest.mark.parametrize("own", ["interrupted", "left"])
def test_a_coordinator_that_ends_leaves_nothing_behind_and_the_next_one_goes_on(
    make_listening: MakeListening, undisturbed: dict[Path, str], tmp_path: Path, own: str
) -> None:
    from tests.integration.federation.conftest import until

    listening, entry, gate = make_listening(), tmp_path / "gated.py", tmp_path / "open"
    entry.write_text(GATED.format(str(gate)))
    if own == "left":
        script = listening.script(entry, own=LEAVES)
    else:
        script = listening.script(entry)
        until(
            "its clients are at work", lambda: sum("collaborator:main" in line for line in listening.processes()) >= 2
        )
        script.send_signal(signal.SIGINT)
    _, problems = script.communicate(timeout=PATIENCE)
    assert script.returncode == (0 if own == "left" else -signal.SIGINT), problems
    assert ("KeyboardInterrupt" in problems) is (own == "interrupted"), problems
    assert not [line for line in listening.processes() if "aggregator:main" in line or "coordinates.py" in line]
    gate.touch()
    run, digest = ended(listening, entry)
    assert listening.runs() == [run]
    assert digest == undisturbed[AVERAGING]


def test_a_worker_that_is_interrupted_leaves_nothing_behind(make_listening: MakeListening, tmp_path: Path) -> None:
    from tests.integration.federation.conftest import until

    listening, entry = make_listening(), tmp_path / "gated.py"
    entry.write_text(GATED.format(str(tmp_path / "open")))
    with listening.connect() as federation:
        run = federation.run(hansa.load_experiment(entry).experiment, source=entry, wait=False, callbacks=())
        until("all are at work", lambda: sum("collaborator:main" in line for line in listening.processes()) >= 3)
        for name, process in listening.local.processes.items():
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0, listening.log(name)
        assert not [line for line in listening.processes() if "aggregator" not in line]
        until("they have gone", lambda: not any(envoy.online for envoy in federation.envoys()))
        run.cancel()
    assert listening.processes() == []
