"""How much disk a Director takes: ten rounds of a model of 20 MB with four clients, looked at all the time."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.federation.ground import Submission, echo, federation, ran
from benchmarks.federation.processes import Watched
from benchmarks.federation.rows import at_most, row

FLOATS, CLIENTS, ROUNDS = 5_000_000, 4, 10
SMALL = 0.1
"""What the journal, the logs and the experiment's own files may take, in models."""


def run() -> list[dict[str, Any]]:
    """The most at any time, in models, and what is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="hansa-bench-") as folder, federation(CLIENTS) as made, made.user() as user:
        submission = Submission.of(echo(Path(folder), FLOATS, ROUNDS), Path(folder), tuple(made.owners))
        model = submission.package.manifest.initial.size
        stores = {name: made.folder / name / "store" for name in ("director", "owner-0")}
        with Watched(lambda: size(stores["director"])) as director, Watched(lambda: size(stores["owner-0"])) as envoy:
            ran(user, submission)
        left, most = _settled(stores["director"]), director.most / model
    return [
        at_most(f"the Director's store, the most of {director.samples} looks", [most], "models", CLIENTS + 4 + SMALL),
        row("the Director's store, after the run", [left / model], "models"),
        row(f"an Envoy's store, the most of {envoy.samples} looks", [envoy.most / model], "models"),
    ]


def size(folder: Path) -> int:
    """Bytes that a folder takes on the disk.

    Raises:
        FileNotFoundError: files came or went meanwhile, so that what was added up was never there at once.
    """
    files = _files(folder)
    total = sum(path.lstat().st_blocks * 512 for path in files)
    if _files(folder) != files:
        raise FileNotFoundError(str(folder))
    return total


def _settled(folder: Path) -> int:
    """The size once nothing comes or goes."""
    while True:
        time.sleep(1)
        try:
            return size(folder)
        except FileNotFoundError:
            continue


def _files(folder: Path) -> list[Path]:
    return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]
