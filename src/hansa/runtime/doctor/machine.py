"""What a machine offers, whoever it belongs to: versions, room on the disk, which limits hold for children."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hansa.errors import HansaError
from hansa.runtime import machine
from hansa.runtime.children.hansa_child.confine import size_text
from hansa.runtime.children.limits import Limits, probe
from hansa.runtime.config import EnvoyConfig
from hansa.runtime.doctor.finding import Finding, good, of_error, problem, warning
from hansa.runtime.envoy.offer import offered
from hansa.store import disk
from hansa.store.journal import SqliteJournal

NEEDED = ("hansa", "numpy", "protobuf", "cryptography", "websockets")
"""The distributions that a federation does not go without."""
OPTIONAL = ("grpcio",)
"""Those that it goes without where everybody speaks WebSocket."""
FRAMEWORKS = ("torch", "jax", "tensorflow", "scikit-learn")
"""Those that an experiment may want, and that are named where they are installed."""

FEW = 2
"""With less than so many times `keep_free` left on the disk, its owner is warned."""


def versions() -> list[Finding]:
    """Python, what Hansa needs, and which learning frameworks there are."""
    found = {name: _version(name) for name in (*NEEDED, *OPTIONAL, *FRAMEWORKS)}
    missing = [name for name in NEEDED if found[name] is None]
    here = ", ".join(f"{name} {number}" for name, number in found.items() if number is not None)
    said = f"Python {platform.python_version()}, {here}"
    if missing:
        return [problem("versions", f"{said}; missing: {', '.join(missing)}", "pip install hansa")]
    return [good("versions", said)]


def room(store: Path, keep_free: int) -> list[Finding]:
    """Whether there is room on the disk of a store."""
    folder = next(each for each in (store, *store.absolute().parents) if each.exists())
    free = disk.free(folder)
    said = f"{size_text(free)} free in {folder}; {size_text(keep_free)} of them are kept free (keep_free)"
    hint = "make room, or lower keep_free"
    if free <= keep_free:
        return [problem("disk", f"{said}: nothing more would be accepted", hint)]
    return [warning("disk", said, hint) if free < FEW * keep_free else good("disk", said)]


def journal(store: Path, holder: int | None) -> list[Finding]:
    """Whether the journal can be opened. It is left alone while somebody works with it."""
    file = store / "journal.sqlite"
    if holder is not None:
        return [good("journal", f"open in process {holder}, which is running")]
    if not file.exists():
        return [good("journal", "there is none yet; it is made at the first start")]
    try:
        SqliteJournal(file).close()
    except HansaError as error:
        return [of_error("journal", error)]
    return [good("journal", "whole, and nobody has it open")]


def offer(config: EnvoyConfig) -> Finding:
    """What an Envoy announces that experiments may use, and whether its machine has what its file promises."""
    may, said, there = offered(config), config.limits, machine.memory()
    cores = f"{may.cores} core{'' if may.cores == 1 else 's'}"
    found = f"an experiment may use {cores}, {size_text(may.memory)} of memory, {said.time:g} s at a visit"
    if said.threads > may.cores:
        what = f"{found}; the settings say {said.threads} threads, and this machine has {may.cores} processors for it"
        return warning("offer", what, "lower threads in [limits]")
    if there and said.memory > there:
        what = f"{found}; the settings say {size_text(said.memory)}, which this machine does not have"
        return warning(
            "offer", what, "lower memory in [limits], so that an experiment is ended before the machine is full"
        )
    return good("offer", found)


def limits(wanted: Limits | None = None) -> list[Finding]:
    """Which limits hold for children: tried in a child that ends at once."""
    try:
        found = probe(wanted)
    except HansaError as error:
        return [of_error("limits", error)]
    checks = []
    if found.held:
        held = "; ".join(f"{name}: {sentence}" for name, sentence in found.held.items())
        checks.append(good("limits", f"these hold for experiments here: {held}"))
    hint = "experiments run without this limit here; keep it in mind when you approve them"
    return [*checks, *(warning(f"limit on {name}", why, hint) for name, why in found.refused.items())]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
