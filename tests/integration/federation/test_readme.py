"""What the README promises of its twenty lines: one edit, and they run on a real federation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.data.owners import Owner
from hansa.demo.scenario import EVALUATOR, OWNERS

if TYPE_CHECKING:
    from tests.integration.federation.conftest import MakeLive

README = Path(__file__).parents[3] / "README.md"
SHARD = "hansa.demo.shard:DigitsShard"


def test_the_readme_s_lines_run_on_a_real_federation_with_one_edit(make_live: MakeLive, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    shared = {"dataset": "digits", "folder": str(tmp_path), "seed": 0}
    live = make_live([Owner(name, SHARD, {"owner": name, **shared}) for name in (*OWNERS, EVALUATOR)])
    (text,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert text.count("Federation.simulate(data)") == 1
    assert text.count("rounds=30") == 1
    script = tmp_path / "twenty_lines.py"
    edited = text.replace("Federation.simulate(data)", f'Federation.connect("{live.local.address}")')
    script.write_text(edited.replace("rounds=30", "rounds=10"))  # fewer, for the test's sake
    environment = {**os.environ, "HANSA_IDENTITY": str(live.local.folder / "user")}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=300)
    assert ran.returncode == 0, ran.stderr
    final = ran.stdout.splitlines()[-1].split()
    assert final[:2] == ["10", "federated"]
    assert float(final[-1]) > 0.5, "three owners, none of whom knows the others' digits"
