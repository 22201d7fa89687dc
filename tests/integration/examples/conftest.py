"""Examples as a user runs them: a copy of the folder, made smaller, in the simulator and as real processes on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import hansa

if TYPE_CHECKING:
    from tests.integration.conftest import Shell

PATIENCE = 120.0
"""Seconds after which a script is taken to hang."""

EXAMPLES = Path(__file__).parents[3] / "examples"


@dataclass(frozen=True)
class Copied:
    """A copy of an example's folder, and the shell to run it from."""

    folder: Path
    shell: Shell

    def change(self, file: str, changes: Mapping[str, str]) -> None:
        """Replace texts that are in a file exactly once."""
        text = (self.folder / file).read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
            text = text.replace(old, new)
        (self.folder / file).write_text(text, encoding="utf-8")

    def printed(self, script: str, **variables: str) -> str:
        """What `python SCRIPT` prints."""
        ended = subprocess.run(
            [sys.executable, script],
            cwd=self.folder,
            env=self.shell.environment(**variables),
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def document(self, *options: str, file: str = "experiment.py", **variables: str) -> dict[str, Any]:
        """What `hansa run FILE --json` prints with some options."""
        ended = self.shell.hansa("run", file, "--json", *options, cwd=self.folder, **variables)
        assert ended.code == 0, ended.err
        document: dict[str, Any] = json.loads(ended.out)
        return document

    def same_bits(self, *, file: str = "experiment.py", owners: str = "owners.toml", **variables: str) -> hansa.History:
        """The History of the real federation, whose model is the simulator's."""
        simulated = self.document("--owners", owners, file=file, **variables)
        real = self.document("--owners", owners, "--local", file=file, **variables)
        assert real["model_sha256"] == simulated["model_sha256"]
        histories = [hansa.History.from_json(each) for each in (simulated, real)]
        trained = [[(e.round, list(e.outcomes)) for e in each.entries if e.work == "train"] for each in histories]
        assert trained[0] == trained[1]
        return histories[1]


@pytest.fixture
def copied(request: pytest.FixtureRequest, shell: Shell, tmp_path: Path) -> Copied:
    """A copy of the example that the test's module names as EXAMPLE."""
    source = EXAMPLES / str(request.module.EXAMPLE)
    left = shutil.ignore_patterns("__pycache__", "*.json", "README.md")
    return Copied(shutil.copytree(source, tmp_path / source.name, ignore=left), shell)
