"""The command line's surface: every command explains itself, prints JSON on request, and starts quickly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hansa.cli import app

LONG_LIVED = {"director start", "envoy start"}
"""They print logs, in lines of JSON if they are asked to."""


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", each


EXPERIMENT = (
    *(
        "submit",
        "list",
        "show",
        "logs",
        "printed",
        "cancel",
        "resume",
        "remove",
        "share",
        "approve",
        "refuse",
        "download",
    ),
)
COMMANDS = dict(commands(typer.main.get_command(app)))


def test_the_commands_are_these() -> None:
    assert set(COMMANDS) == {
        "demo",
        "run",
        "status",
        "doctor",
        "federation up",
        *(f"director {name}" for name in ("init", "start", "stop", "review")),
        *(f"envoy {name}" for name in ("init", "start", "stop", "review", "check")),
        *(f"pki {name}" for name in ("init", "issue", "enroll", "revoke", "list")),
        *(f"experiment {name}" for name in EXPERIMENT),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself_and_each_of_its_options(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.help.split("\n")[0].endswith(".")
    assert [each.name for each in command.params if not each.help] == []
    assert CliRunner().invoke(app, [*name.split(), "--help"]).exit_code == 0


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - LONG_LIVED))
def test_a_command_that_prints_something_prints_json_too(name: str) -> None:
    assert "--json" in [option for each in COMMANDS[name].params for option in each.opts]


@pytest.mark.parametrize("name", sorted(LONG_LIVED))
def test_a_command_that_logs_logs_json_too(name: str) -> None:
    assert "--log-format" in [option for each in COMMANDS[name].params for option in each.opts]


def test_help_loads_neither_network_nor_certificates_nor_a_learning_framework() -> None:
    code = "import sys, hansa.cli; print(*(name for name in sys.argv[1:] if name in sys.modules))"
    heavy = ("grpc", "torch", "cryptography", "google.protobuf", "sklearn", "sqlite3")
    ended = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert ended.stdout == "\n"


def test_wrong_usage_is_status_2(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["director", "init", str(tmp_path)]).exit_code == 0
    for arguments in (
        ["pki", "enroll"],
        ["pki", "enroll", "--install", "cert.pem", str(tmp_path)],
        ["director", "review", str(tmp_path), "--approve"],
        ["pki", "issue", "anna", "--role", "king", "--authority", str(tmp_path)],
    ):
        assert CliRunner().invoke(app, arguments).exit_code == 2, arguments


def test_a_director_is_made_in_one_command_and_says_what_it_made(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    made = CliRunner().invoke(app, ["director", "init", str(folder), "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["settings"] == str(folder / "director.toml")
    assert (folder / "identity" / "cert.pem").exists()
    assert (folder / "authority" / "ca.key").stat().st_mode & 0o777 == 0o600
    again = CliRunner().invoke(app, ["director", "init", str(folder), "--renew", "--json"])
    assert again.exit_code == 0, again.output


def test_the_authority_lists_what_it_issued_and_what_it_revoked(tmp_path: Path) -> None:
    folder, out = tmp_path / "ca", tmp_path / "anna.invitation"

    def told(*arguments: str) -> Any:
        ended = CliRunner().invoke(app, ["pki", *arguments, "--json"])
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    told("init", str(folder), "--name", "north")
    issued = ["issue", "anna", "--role", "envoy", "--authority", str(folder), "--out", str(out)]
    told(*issued, "--address", "127.0.0.1:9", "--hours", "1")
    assert out.stat().st_mode & 0o777 == 0o600
    listed = told("list", "--authority", str(folder))
    assert [(each["name"], each["role"], each["state"]) for each in listed["certificates"]] == [
        ("anna", "newcomer", "valid")
    ]
    assert len(told("revoke", "anna", "--authority", str(folder), "--why", "lost")["revoked"]) == 1
    assert told("list", "--authority", str(folder))["certificates"][0]["state"] == "revoked"


def test_a_certificate_goes_the_way_without_a_network(tmp_path: Path) -> None:
    ca, mine = tmp_path / "ca", tmp_path / "mine"
    csr, cert = tmp_path / "anna.csr", tmp_path / "anna.crt"
    for arguments in (
        ["init", str(ca)],
        ["enroll", "--request", "anna", str(mine), "--out", str(csr)],
        ["issue", "anna", "--role", "envoy", "--authority", str(ca), "--csr", str(csr), "--out", str(cert)],
        ["enroll", "--install", str(cert), "--ca", str(ca / "ca.crt"), str(mine), "--director", "127.0.0.1:9"],
    ):
        ended = CliRunner().invoke(app, ["pki", *arguments])
        assert ended.exit_code == 0, ended.output
    assert (mine / "director").read_text() == "127.0.0.1:9\n"
    assert "PRIVATE" not in csr.read_text()
