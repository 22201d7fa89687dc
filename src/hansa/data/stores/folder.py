"""Clients' data sets as files of one folder: CLIENT.npz or CLIENT.safetensors, or train/CLIENT.npz and test/CLIENT.npz.

Sizes are read from the files' headers. Nothing in a file is executed: arrays of Python objects are refused.

This file must not know what the columns mean.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.data.stores import columns
from hansa.data.stores.store import ClientStore, dataset_at
from hansa.errors import DataError

KINDS = (".npz", ".safetensors")
SPLITS = ("train", "test")


class Folder(ClientStore):
    """The data sets in some files, read on access.

    Args:
        files: a file for each client.
    """

    sized = True

    def __init__(self, files: Mapping[ClientId, Path]) -> None:
        self._files = dict(files)
        self._ids = tuple(self._files)

    @property
    def ids(self) -> tuple[ClientId, ...]:
        """The files' names, without what says their kind."""
        return self._ids

    def __contains__(self, client: object) -> bool:
        return client in self._files

    def __getitem__(self, client: ClientId) -> ClientDataset:
        path = self._files[client]
        with _explained(path):
            read = _read_npz if path.suffix == ".npz" else _read_safetensors
            return dataset_at(str(path), read(path))

    def size(self, client: ClientId) -> int:
        """How many examples a client's file has, by its header."""
        path = self._files[client]
        with _explained(path):
            rows = _rows_of_npz(path) if path.suffix == ".npz" else _rows_of_safetensors(path)
        if len(set(rows.values())) != 1:
            listed = ", ".join(f"{name} has {count}" for name, count in rows.items()) or "there is none"
            raise DataError(
                f"every column must have one row an example, but {listed}", where=str(path), hint="write it again"
            )
        return next(iter(rows.values()))


def found(path: Path) -> dict[str, Folder]:
    """The splits in a folder; where it has neither train/ nor test/, all its files are "train".

    Clients are in the order of their names, or of their numbers where all of them are called by one.

    Raises:
        DataError: there is no such folder, no client in it, or two files of one client.
    """
    if not path.is_dir():
        raise DataError(
            "there is no such folder", where=str(path), hint="name the folder that holds the clients' files"
        )
    divided = [split for split in SPLITS if (path / split).is_dir()]
    folders = {split: _listed(path / split) for split in divided} or {"train": _listed(path)}
    if divided and (loose := _listed(path)):
        raise DataError(
            f"{len(loose)} clients' files lie beside {divided[0]}/, the first is {next(iter(loose.values())).name}",
            where=str(path),
            hint="move them into train/ or test/",
        )
    if not any(folders.values()):
        raise DataError(
            "there is no client's file",
            where=str(path),
            hint="call them CLIENT.npz or CLIENT.safetensors, one a client",
        )
    return {split: Folder(files) for split, files in folders.items()}


def _listed(folder: Path) -> dict[ClientId, Path]:
    files: dict[ClientId, Path] = {}
    for path in folder.iterdir():
        if path.suffix in KINDS and not path.name.startswith(".") and path.is_file():
            if path.stem in files:
                raise DataError(
                    f"{files[path.stem].name} and {path.name} are both of client {path.stem!r}",
                    where=str(folder),
                    hint="keep one of them",
                )
            files[path.stem] = path
    numbers = all(stem.isascii() and stem.isdigit() for stem in files)
    return dict(sorted(files.items(), key=lambda item: (len(item[0]), item[0]) if numbers else (0, item[0])))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What a library says of a file that it cannot read, as a DataError with the file's name."""
    try:
        yield
    except DataError:
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        LookupError,
        zipfile.BadZipFile,
        zlib.error,
        safetensors.SafetensorError,
    ) as why:
        raise DataError(
            f"the file cannot be read: {why}", where=str(path), hint="write it again; it holds numbers or text only"
        ) from why


def _read_npz(path: Path) -> dict[str, columns.Column]:
    with path.open("rb") as raw:  # NumPy does not close what it finds to be no archive
        file = np.load(raw, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise DataError("one array without a name, expected arrays by name", where=str(path), hint="use np.savez")
        with file:
            return dict(file)


def _read_safetensors(path: Path) -> dict[str, columns.Column]:
    return columns.decode(path.read_bytes(), where=str(path))


def _rows_of_npz(path: Path) -> dict[str, int]:
    rows = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                read: Any = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, _ = read(member)
            rows[name.removesuffix(".npy")] = _first(shape, name)
    return rows


def _rows_of_safetensors(path: Path) -> dict[str, int]:
    with safetensors.safe_open(path, framework="numpy") as file:
        return {name: _first(file.get_slice(name).get_shape(), name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _first(shape: Any, name: str) -> int:
    if not shape:
        raise ValueError(f"{name} is a single value, expected one row an example")
    return int(shape[0])
