"""examples/alice_bob_charlie/over_websockets.py: four workers that listen, and the bits of the simulator."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hansa
from hansa.protocol import codec

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "alice_bob_charlie"

PATIENCE = 240.0
"""Seconds after which the script is taken to hang."""


def test_four_workers_and_a_script_give_the_model_of_the_simulator(copied: Copied, tmp_path: Path) -> None:
    copied.change("experiment.py", {"ROUNDS, EVERY = 40, 10": "ROUNDS, EVERY = 3, 3"})
    folder = tmp_path / "kept"
    ran = subprocess.run(
        [sys.executable, "over_websockets.py", "--folder", str(folder)],
        cwd=copied.folder,
        env=copied.shell.environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    simulated = copied.document("--owners", "owners.toml")
    assert codec.digest(hansa.load_model(folder / "results" / "model.safetensors")) == simulated["model_sha256"]
    listens = dict(re.findall(r"^(\w+) listens at (wss://127\.0\.0\.1:\d+)$", ran.stdout, re.MULTILINE))
    assert listens.keys() == {"alice", "bob", "charlie", "tester"}
    assert len(set(listens.values())) == 4
    shown = re.findall(r"^ +(\d+)  (\w+) +(\d+\.\d\d)%  ([\d ]+)$", ran.stdout, re.MULTILINE)
    assert [(int(round_), model) for round_, model, _, _ in shown] == [
        (round_, model) for round_ in (1, 3) for model in ("alice", "bob", "charlie", "federated")
    ]
    assert all(95 < sum(map(int, histogram.split())) < 105 for _, _, _, histogram in shown)
