"""Where the real data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; skips where there is none."""
    folder = Path(os.environ.get("HANSA_DATA") or SHARED)
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no real data sets: {folder} has no folder 'mnist'; set HANSA_DATA to one that has")
    return folder
