"""A run's results as files: the model, and what happened."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hansa.core.history import History
from hansa.core.tree import Tree
from hansa.errors import ConfigError, InputError
from hansa.protocol import codec

MODEL, HISTORY = "model.safetensors", "history.json"


def save_results(history: History, folder: Path) -> None:
    """Write `model.safetensors` and `history.json` into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / MODEL, codec.encode(history.model))
    _replace(folder / HISTORY, json.dumps(history.to_json(), indent=1, allow_nan=False).encode())


def prepare_folder(folder: Path) -> None:
    """Make the folder that results will be written to, before anybody spends an hour on them.

    Raises:
        ConfigError: it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise ConfigError(
            f"the folder for the results cannot be used: {problem.strerror}", where=str(folder), hint="name another one"
        ) from problem


def load_results(folder: Path) -> History:
    """The History, with its model, that `save_results` wrote.

    Raises:
        InputError: a file is missing or damaged.
    """
    model = load_model(folder / MODEL)
    try:
        return History.from_json(json.loads((folder / HISTORY).read_bytes()), model)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as problem:
        raise InputError(f"this is no History, or it is damaged: {problem}", where=str(folder / HISTORY)) from problem


def load_model(path: Path) -> Tree:
    """A model's parameters from a safetensors file.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return codec.decode(path.read_bytes())
    except OSError as problem:
        raise InputError(f"the model file cannot be read: {problem.strerror}", where=str(path)) from problem
    except InputError as problem:
        problem.where = str(path)
        raise


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(content)
    draft.replace(path)
