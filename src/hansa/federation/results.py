"""What a run leaves in a folder: its last model and its history, and the models that were kept besides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hansa.core.history import History
from hansa.core.tree import Tree
from hansa.experiment import prepare_folder, save_results
from hansa.protocol import codec


def download(folder: Path, history: History, kept: Mapping[str, Tree]) -> Path:
    """Write `model.safetensors`, `history.json`, and `best.safetensors` or `round-10.safetensors` for what was kept.

    Raises:
        InputError: the folder cannot be written.
    """
    prepare_folder(folder)
    save_results(history, folder)
    for label, tree in kept.items():
        codec.write(tree, folder / f"{label if label == 'best' else f'round-{label}'}.safetensors")
    return folder
