"""examples/quickstart: a plain script of twenty lines, which one word takes to a real federation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hansa.data.owners import load_owners
from hansa.protocol import codec
from hansa.runtime.local import LocalFederation

if TYPE_CHECKING:
    from tests.integration.examples.conftest import Copied

EXAMPLE = "quickstart"


def test_twenty_lines_learn(copied: Copied) -> None:
    code = (copied.folder / "quickstart.py").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) and not line.startswith('"""') for line in code) <= 20
    rows = [line.split() for line in copied.printed("quickstart.py").splitlines()[1:]]
    assert [row[0] for row in rows] == ["0", "10", "20", "30"]
    assert float(rows[-1][-1]) > 0.9 > float(rows[0][-1])


def test_one_word_takes_the_script_to_a_real_federation(copied: Copied, tmp_path: Path) -> None:
    copied.change("quickstart.py", {"rounds=30": "rounds=5", "every=10": "every=5"})
    copied.change("owners.toml", {"count = 10": "count = 2", "owners = 10": "owners = 2"})
    bits = copied.document("--owners", "owners.toml", file="quickstart.py")["model_sha256"]
    copied.change("quickstart.py", {"simulate(data)": "connect()"})
    with LocalFederation(tmp_path / "federation", load_owners(copied.folder / "owners.toml")) as federation:
        federation.create()
        federation.up()
        table = copied.printed("quickstart.py", HANSA_IDENTITY=str(federation.folder / "user"))
        with federation.user() as user:
            (run,) = user.overview()["runs"]
            history = user.history(run["run"])
    assert history.table() + "\n" == table
    assert codec.digest(history.model) == bits
    assert history.final("accuracy") > history.series("accuracy")[0][1] + 0.1
