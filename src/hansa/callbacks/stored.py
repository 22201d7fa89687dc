"""A checkpoint as files: what a folder of them looks like, and how it is written so that a kill never costs the last one.

    FOLDER/round-00012/model.safetensors     the model after round 12
    FOLDER/round-00012/history.json          the run so far: with the model, what `hansa.load_results` reads
    FOLDER/round-00012/standing.json         where a simulation stands: the snapshot's document, and the names of its trees
    FOLDER/round-00012/SHA256.safetensors    its trees, where they are not the model itself

A checkpoint's folder appears whole, by one rename. Afterwards only its History and its standing move on, by evaluations, which
leave the model alone: each is replaced by one rename, the History first, so that a standing never knows more than the History.

This file must not know when a checkpoint is written, or which are kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hansa.core.history import History
from hansa.core.loop import Progress
from hansa.core.tree import Tree
from hansa.errors import InputError
from hansa.experiment import disk
from hansa.experiment.results import HISTORY, MODEL, load_model, load_results
from hansa.experiment.snapshot import freeze, thaw
from hansa.protocol import codec
from hansa.simulation import ExecutorState

STANDING = "standing.json"
DRAFT = ".part"
_NAMED = re.compile(r"round-([0-9]{5,})")


@dataclass(frozen=True)
class Stored:
    """A checkpoint to go on from.

    Attributes:
        history: the run up to there; its model is that of the checkpoint.
        progress: where the algorithm stands; None for a checkpoint of a real run.
        remembered: what the executor kept from one ask to the next.
    """

    history: History
    progress: Progress | None = None
    remembered: Any = None


def folder_of(folder: Path, round_: int) -> Path:
    """Where the checkpoint of a round lies."""
    return folder / f"round-{round_:05d}"


def rounds_in(folder: Path) -> list[int]:
    """The rounds that a folder has checkpoints of, the first one first."""
    if not folder.is_dir():
        return []
    return sorted(int(found[1]) for each in folder.iterdir() if (found := _NAMED.fullmatch(each.name)))


def write(folder: Path, stored: Stored, names: Mapping[str, Any]) -> None:
    """Write the checkpoint of a History's last round, or move the one that is there on to what the History says now.

    Raises:
        StoreError: a file cannot be written; DiskFull where there is no room. The checkpoints that are there are unharmed.
        InputError: the algorithm's state cannot be kept; the model and the History are written all the same.
    """
    place = folder_of(folder, stored.history.rounds)
    with disk.explained("the checkpoint cannot be written", place):
        if place.is_dir():
            problem = _fill(place, stored, names)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(place.name + DRAFT)
            shutil.rmtree(draft, ignore_errors=True)  # of somebody who was killed
            draft.mkdir()
            problem = _fill(draft, stored, names)
            draft.rename(place)
            disk.settle(folder)
    if problem is not None:
        raise problem


def read(folder: Path, round_: int, names: Mapping[str, Any]) -> Stored:
    """The checkpoint of a round.

    Raises:
        InputError: it is damaged, or its state is of classes that are gone; the error says which file.
    """
    place = folder_of(folder, round_)
    history = load_results(place)
    if not (place / STANDING).is_file():
        return Stored(history)
    try:
        standing = json.loads((place / STANDING).read_bytes())
        trees = [load_model(place / _plain(name)) for name in standing["trees"]]
        state, remembered, model, fallback = thaw(standing["snapshot"], trees, names)
        known, before = standing["history"], standing["fallback"]
        now = _until(history, known["entries"], model, known["rounds"])
        then = _until(history, before["entries"], fallback, before["rounds"])
    except (OSError, ValueError, LookupError, TypeError) as problem:
        if isinstance(problem, InputError):
            problem.where = problem.where or str(place / STANDING)
            raise
        raise InputError(
            f"this is no checkpoint, or it is damaged: {problem}", where=str(place / STANDING)
        ) from problem
    return Stored(now, Progress(state, now, then), remembered)


def past(folder: Path, round_: int) -> list[Any]:
    """The entries, as JSON values, of all that a run must have behind it that goes on from a checkpoint.

    Raises:
        InputError: the checkpoint is damaged.
    """
    place = folder_of(folder, round_)
    try:
        entries: list[Any] = json.loads((place / HISTORY).read_bytes())["entries"]
        if not (place / STANDING).is_file():
            return entries
        return entries[: json.loads((place / STANDING).read_bytes())["history"]["entries"]]
    except (OSError, ValueError, LookupError, TypeError) as problem:
        raise InputError(f"this is no checkpoint, or it is damaged: {problem}", where=str(place)) from problem


def remove(folder: Path, round_: int) -> None:
    """Remove a checkpoint; one that is half removed is no longer taken for one."""
    place = folder_of(folder, round_)
    gone = place.with_name(place.name + ".gone")
    shutil.rmtree(gone, ignore_errors=True)
    with disk.explained("the checkpoint cannot be removed", place):
        place.rename(gone)
        shutil.rmtree(gone)


def sweep(folder: Path) -> None:
    """Remove what somebody left who was killed while they wrote or removed a checkpoint."""
    for each in folder.iterdir() if folder.is_dir() else ():
        name = each.name.removesuffix(DRAFT).removesuffix(".gone")
        if name != each.name and _NAMED.fullmatch(name):
            shutil.rmtree(each, ignore_errors=True)


def _fill(place: Path, stored: Stored, names: Mapping[str, Any]) -> InputError | None:
    """Write what is not there yet. Says what is wrong with a state that cannot be kept: the model does not depend on it."""
    model = codec.encode(stored.history.model)
    files = {hashlib.sha256(model).hexdigest(): MODEL}
    if not (place / MODEL).exists():
        disk.replace(place / MODEL, model)
    del model
    disk.replace(place / HISTORY, json.dumps(stored.history.to_json(), allow_nan=False).encode())
    if stored.progress is None:
        return None
    progress, remembered = stored.progress, stored.remembered
    if isinstance(remembered, ExecutorState):
        remembered = remembered.loaded()
    try:
        snapshot = freeze((progress.state, remembered, progress.history.model, progress.fallback.model), names)
    except InputError as problem:
        return problem
    trees = [_kept(place, tree, files) for tree in snapshot.trees]
    ends = {"history": progress.history, "fallback": progress.fallback}
    standing = {
        **{name: {"entries": len(each.entries), "rounds": each.rounds} for name, each in ends.items()},
        "trees": trees,
        "snapshot": snapshot.document,
    }
    disk.replace(place / STANDING, json.dumps(standing, allow_nan=False).encode())
    _forget(place, {MODEL, *trees})
    return None


def _kept(place: Path, tree: Tree, files: dict[str, str]) -> str:
    """The name of the file that a tree lies in, which is written unless it is there."""
    content = codec.encode(tree)
    digest = hashlib.sha256(content).hexdigest()
    if digest not in files:
        files[digest] = f"{digest}.safetensors"
        if not (place / files[digest]).exists():
            disk.replace(place / files[digest], content)
    return files[digest]


def _forget(place: Path, trees: set[str]) -> None:
    """Remove trees of an earlier standing, and drafts of somebody who was killed."""
    for each in place.iterdir():
        if each.name.startswith(".") or (each.suffix == ".safetensors" and each.name not in trees):
            each.unlink()


def _until(history: History, entries: int, model: Tree, rounds: int) -> History:
    return History(history.entries[:entries], model, rounds, history.seed, history.mode, history.environment)


def _plain(name: Any) -> str:
    """A file's name that leads nowhere else."""
    if name != MODEL and not re.fullmatch(r"[0-9a-f]{64}\.safetensors", str(name)):
        raise InputError(f"this is no checkpoint: it names the file {name!r:.80}")
    return str(name)
