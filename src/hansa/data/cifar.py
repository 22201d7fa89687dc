"""Reading CIFAR-10: the original binary files, or a JPEG re-encoding of them. Never the pickled version.

This file must not know how the images are normalised.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hansa.data.files import Places, corrupt, find, read
from hansa.data.sources import CifarSet, Source
from hansa.errors import DatasetCorrupt, DatasetMissing, MissingExtra

Columns = dict[str, np.ndarray[Any, Any]]
"""x: uint8 (examples, 3, 32, 32); y: int64 (examples,)."""

ORIGINAL = "the original binary archive"
UNPACKED = "the original binary files, unpacked, whose size was checked but for which no hash is published"
JPEG = (
    "a JPEG re-encoding, NOT the original pixels: accuracies are not exactly comparable with published ones;"
    " ordered by class"
)

RECORD = 1 + 3 * 32 * 32
"""Bytes of an example in the binary files: a label, then the red, green and blue values."""

BATCH = 10_000 * RECORD
"""Bytes of each binary file."""


def cifar_columns(cifar: CifarSet, places: Places) -> tuple[Columns, Columns, str]:
    """The training columns, the test columns, and which form of the data set they were read from.

    The original is preferred to the JPEG re-encoding, and what is on this machine to a download.

    Raises:
        DatasetMissing: it is not on this machine and cannot be downloaded.
        DatasetCorrupt: a file is truncated or altered.
        MissingExtra: only the JPEG form is on this machine, and Pillow is not.
    """
    if any(find(cifar.archive, places)):
        return *_from_archive(cifar, read(cifar.archive, places)), ORIGINAL
    for folder in places.of(cifar.archive.folder):
        for unpacked in (folder / cifar.unpacked, folder):
            if (unpacked / cifar.test).is_file():
                return *_from_files(cifar, unpacked), UNPACKED
    train, test = (next(find(source, places), None) for source in (cifar.train_jpeg, cifar.test_jpeg))
    if train is not None and test is not None:
        return _from_jpeg(cifar.train_jpeg, train), _from_jpeg(cifar.test_jpeg, test), JPEG
    return *_from_archive(cifar, read(cifar.archive, places)), ORIGINAL


def _from_archive(cifar: CifarSet, archive: bytes) -> tuple[Columns, Columns]:
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:  # in the archive's own order, or every file would be unpacked from the start again
            name = member.name.rsplit("/", 1)[-1]
            if name in (*cifar.train, cifar.test) and (file := tar.extractfile(member)) is not None:
                members[name] = file.read()
    return _from_batches(members, cifar, cifar.archive.file)


def _from_files(cifar: CifarSet, folder: Path) -> tuple[Columns, Columns]:
    names = (*cifar.train, cifar.test)
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise DatasetMissing(
            f"{', '.join(absent)} is not beside {cifar.test}",
            where=str(folder),
            hint=f"unpack {cifar.archive.url} again, or put the archive itself there",
        )
    return _from_batches({name: (folder / name).read_bytes() for name in names}, cifar, str(folder))


def _from_batches(members: dict[str, bytes], cifar: CifarSet, where: str) -> tuple[Columns, Columns]:
    """The training columns and the test columns in the binary files, given by name."""
    for name in (*cifar.train, cifar.test):
        if len(members.get(name, b"")) != BATCH:
            raise DatasetCorrupt(
                f"{name} has {len(members.get(name, b''))} bytes, expected {BATCH}", where=where, hint="get it again"
            )
    train, test = (
        np.frombuffer(b"".join(members[name] for name in names), np.uint8).reshape(-1, RECORD)
        for names in (cifar.train, [cifar.test])
    )
    if (worst := max(train[:, 0].max(), test[:, 0].max())) >= len(cifar.about.labels):
        raise DatasetCorrupt(
            f"label {worst} is none of the {len(cifar.about.labels)} classes", where=where, hint="get it again"
        )
    return _columns(train), _columns(test)


def _columns(records: np.ndarray[Any, Any]) -> Columns:
    return {"x": np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32), "y": records[:, 0].astype(np.int64)}


def _from_jpeg(source: Source, path: Path) -> Columns:
    """The decoded images of an npz file: `jpeg`, all files joined; `offset`, where each begins; `label`."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra.of("Pillow", "images", "decoding CIFAR-10's JPEG form") from error
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            jpeg, offset, label = arrays["jpeg"], arrays["offset"], arrays["label"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise corrupt(source, f"a file that cannot be read ({error})", str(path)) from error
    digest = hashlib.sha256(b"".join(each.tobytes() for each in (jpeg, offset, label))).hexdigest()
    if digest != source.sha256:
        raise corrupt(source, digest, str(path))
    files = memoryview(jpeg.tobytes())
    images = np.empty((len(label), 3, 32, 32), np.uint8)
    for number, (start, end) in enumerate(zip(offset[:-1].tolist(), offset[1:].tolist(), strict=True)):
        with Image.open(io.BytesIO(files[start:end])) as image:
            images[number] = np.asarray(image).transpose(2, 0, 1)
    return {"x": images, "y": label.astype(np.int64)}
