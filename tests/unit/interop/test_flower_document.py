"""docs/flower.md: its programs run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "flower.md"


def programs() -> list[str]:
    """The indented blocks that import Hansa and do something with it."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=\n*    ))+", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks if "import hansa" in block and "def " in block]


def test_its_programs_give_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = programs()
    names: dict[str, object] = {}
    exec(first, names)  # noqa: S102 - our own document
    assert capsys.readouterr().out.startswith("History (loss, distributed):\n\tround 1: 1.0\n\tround 2: 2.0\n")
    exec(second, {})  # noqa: S102 - as above
    shown = second.rpartition("# ")[2].strip()
    assert capsys.readouterr().out.strip() == shown == "{'0': array([6., 6.])}"
