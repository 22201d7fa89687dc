"""Flower's older programs as processes: a server and its clients over a real connection, and what can go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hansa.runtime.local import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds after which a process is taken to hang; it only ends tests that would never end."""

CLIENT = """\
import subprocess, sys
import numpy as np
import hansa.interop.flower as fl

class Client(fl.client.NumPyClient):
    def get_parameters(self, config):
        return [np.zeros((2, 2), np.float32), np.zeros(3)]
    def fit(self, parameters, config):
        if "fail" in sys.argv:
            raise RuntimeError("a value that stays here")
        said = subprocess.run([sys.executable, "-c", "print(2)"], capture_output=True, text=True, check=True).stdout
        return [p + int(said) for p in parameters], config["examples"], {"who": sys.argv[2]}
    def evaluate(self, parameters, config):
        return float(parameters[1].mean()), 7, {"accuracy": 0.5}

fl.client.start_numpy_client(sys.argv[1], client=Client(), name=sys.argv[2], max_wait_time=100)
print("left")
"""

SERVER = """\
import sys
import hansa.interop.flower as fl

class Looks(fl.server.strategy.FedAvg):
    def aggregate_fit(self, server_round, results, failures):
        print(server_round, sorted(res.metrics["who"] for _, res in results), [type(each).__name__ for each in failures])
        return super().aggregate_fit(server_round, results, failures)

strategy = {strategy}(
    min_available_clients=2,
    eval_fn=lambda weights: (float(weights[0].sum()), {{"x": 1}}),
    on_fit_config_fn=lambda server_round: {{"examples": 10 * server_round}},
)
history = fl.server.start_server(server_address=sys.argv[1], config={{"num_rounds": 2}}, strategy=strategy)
print(history.losses_centralized, history.losses_distributed, history.metrics_centralized)
print(history.run.model["1"].tolist())
"""


class Program:
    """A program of the test's, started as a process."""

    def __init__(self, folder: Path, code: str, *arguments: str) -> None:
        file = folder / f"program_{len(list(folder.glob('program_*')))}.py"
        file.write_text(code)
        self.process = subprocess.Popen(
            [sys.executable, str(file), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def ended(self) -> tuple[int, str, str]:
        """Its exit status, output and errors."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, out, err


def client(folder: Path, address: str, name: str, *more: str) -> Program:
    return Program(folder, CLIENT, address, name, *more)


def server(folder: Path, address: str, strategy: str = "fl.server.strategy.FedAvg") -> Program:
    return Program(folder, SERVER.format(strategy=strategy), address)


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


def test_clients_wait_for_their_server_and_all_leave_when_it_is_done(tmp_path: Path, address: str) -> None:
    early = client(tmp_path, address, "alice")
    everywhere = address.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - what older programs say, and what is not done
    centre = server(tmp_path, everywhere)
    late = client(tmp_path, address, "bob")
    code, out, err = centre.ended()
    assert code == 0, err
    assert out.splitlines() == [
        "[(0, 0.0), (1, 8.0), (2, 16.0)] [(1, 2.0), (2, 4.0)] {'x': [(0, 1), (1, 1), (2, 1)]}",
        "[4.0, 4.0, 4.0]",
    ]
    assert "without certificates only this machine can be reached" in err
    for program in (early, late):
        code, out, err = program.ended()
        assert (code, out) == (0, "left\n"), err


def test_a_client_that_fails_is_a_failure_of_the_round_and_its_words_stay_with_it(tmp_path: Path, address: str) -> None:
    centre = server(tmp_path, address, strategy="Looks")
    good, bad = client(tmp_path, address, "good"), client(tmp_path, address, "bad", "fail")
    code, out, err = centre.ended()
    assert code == 0, err
    assert out.splitlines()[:2] == ["1 ['good'] ['HansaError']", "2 ['good'] ['HansaError']"]
    assert "a value that stays here" not in out + err
    assert good.ended()[0] == 0
    code, out, err = bad.ended()
    assert (code, out) == (0, "left\n")
    assert "RuntimeError: a value that stays here" in err


def test_a_strategy_that_raises_ends_the_run_and_lets_its_clients_go(tmp_path: Path, address: str) -> None:
    broken = SERVER.format(strategy="Looks").replace("server_round, sorted", "no_such_name, sorted")
    centre = Program(tmp_path, broken, address)
    clients = [client(tmp_path, address, name) for name in ("alice", "bob")]
    code, _, err = centre.ended()
    assert code == 1
    assert "hansa.errors.RunFailed: the strategy raised:" in err
    assert "name 'no_such_name' is not defined" in err
    assert [each.ended()[:2] for each in clients] == [(0, "left\n")] * 2


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("fl.client.start_client(server_address={address!r})", "either a client or a client_fn is needed"),
        (
            "fl.client.start_numpy_client({address!r}, client=fl.client.NumPyClient(), max_wait_time=0.3)",
            "NotConnected: no server within 0.3 s",
        ),
        (
            "fl.client.start_numpy_client('192.0.2.1:80', client=fl.client.NumPyClient())",
            "a connection without TLS is for this machine only",
        ),
        ("fl.server.start_server({address!r}, certificates=(b'', b'', b''))", "certificates names the folder of"),
        ("fl.server.start_server({address!r}, server=object())", "a Server of one's own is not supported"),
        ("fl.server.start_server('nowhere')", "'nowhere' is not an address"),
    ],
)
def test_a_call_that_cannot_be_says_why(tmp_path: Path, address: str, code: str, said: str) -> None:
    program = Program(tmp_path, "import hansa.interop.flower as fl\n" + code.format(address=address))
    status, _, err = program.ended()
    assert status == 1
    assert said in err


def test_an_address_in_use_is_told(tmp_path: Path, address: str) -> None:
    import socket

    host, _, port = address.partition(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        status, _, err = server(tmp_path, address).ended()
    assert status == 1
    assert f"port {port} is in use already" in err


def test_with_certificates_everybody_proves_who_they_are(tmp_path: Path, address: str) -> None:
    from hansa.pki import Authority, Identity
    from hansa.protocol.peer import Role
    from hansa.runtime.files import now

    authority = Authority.create(tmp_path / "centre" / "authority", "local", now=now())
    for folder, name, role in (
        ("centre/identity", "director", Role.DIRECTOR),
        ("alice", "alice", Role.ENVOY),
        ("bob", "bob", Role.ENVOY),
    ):
        request = Identity.request(tmp_path / folder, name)
        hosts = ("127.0.0.1",) if role is Role.DIRECTOR else ()
        certificate = authority.sign(request, name, role, now=now(), hosts=hosts)
        Identity.install(tmp_path / folder, certificate, authority.certificate)
    code = SERVER.format(strategy="Looks").replace("strategy=strategy)", "strategy=strategy, certificates='centre')")
    centre = Program(tmp_path, code, address)
    secured = CLIENT.replace("name=sys.argv[2]", "root_certificates=sys.argv[2]")
    clients = [Program(tmp_path, secured, address, name) for name in ("alice", "bob")]
    status, out, err = centre.ended()
    assert status == 0, err
    assert out.splitlines()[0] == "1 ['alice', 'bob'] []"
    assert [each.ended()[:2] for each in clients] == [(0, "left\n")] * 2


def test_the_example_runs_as_processes_and_as_a_simulation(tmp_path: Path, address: str) -> None:
    example = ROOT / "examples" / "flower_quickstart"
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["sh", str(example / "run.sh"), address]
    ended = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("History (loss, distributed):\n\tround 1: ")
    simulated = subprocess.run(
        [sys.executable, str(example / "simulation.py")],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert simulated.returncode == 0, simulated.stderr
    accuracy = float(simulated.stdout.rpartition("(10, ")[2].partition(")")[0])
    assert accuracy > 0.85
