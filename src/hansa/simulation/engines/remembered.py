"""Which engine was the quickest for a model on this machine, remembered between runs in the user's cache folder.

A memory that is lost, damaged or outdated costs a trial, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hansa.core.tree import Tree
from hansa.experiment.reference import Mode, version_of
from hansa.training import LocalTraining

try:
    import fcntl
except ImportError:  # not on Windows, where every process tries for itself
    fcntl = None  # type: ignore[assignment]  # see above

VARIABLE = "HANSA_CACHE"
"""The environment variable that names another folder."""

TRIALS = 2
"""Counts the changes of engines and of trials after which what was remembered is not worth much."""

_PACKAGES = ("hansa", "torch", "jax", "numpy")


class Remembered:
    """The memory of one training: of its model's shapes, its optimiser and batches, on this machine, with these libraries."""

    def __init__(self, training: LocalTraining, params: Tree, mode: Mode, device: str) -> None:
        shapes = {name: (str(leaf.dtype), leaf.shape) for name, leaf in params.items()}
        model = f"{type(training.model).__module__}.{type(training.model).__qualname__}"
        machine = (platform.machine(), os.cpu_count(), os.environ.get("OMP_NUM_THREADS"), _processor())
        how = (training.batch_size, repr(training.optimizer), type(training.gradient).__name__, mode, device)
        named = repr((TRIALS, model, shapes, how, machine, [version_of(package) for package in _PACKAGES]))
        self._key = hashlib.sha256(named.encode()).hexdigest()[:32]

    @property
    def engine(self) -> str | None:
        """Its name; None where nothing is remembered."""
        found = _read().get(self._key)
        return found if isinstance(found, str) else None

    @engine.setter
    def engine(self, name: str) -> None:
        """Remember it."""
        try:
            path = _path()
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps({**_read(), self._key: name}, indent=1))
            draft.replace(path)
        except OSError:  # a home that cannot be written to
            return

    @contextmanager
    def trying(self) -> Iterator[bool]:
        """Whether it is this process' turn to try: not while another one does, as they would only disturb each other."""
        with ExitStack() as held:
            try:
                path = _path()
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context(path.with_suffix(".lock").open("w"))
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                turn = True
            except BlockingIOError:
                turn = False
            except OSError:  # a home that cannot be written to: every process tries for itself
                turn = True
            yield turn


def _path() -> Path:
    if said := os.environ.get(VARIABLE):
        return Path(said) / "engines.json"
    import platformdirs

    return platformdirs.user_cache_path("hansa") / "engines.json"


def _read() -> dict[str, object]:
    try:
        found = json.loads(_path().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("model name")), "")
