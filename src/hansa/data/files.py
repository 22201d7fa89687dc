"""Finding a data set's file on this machine, and making sure that it is the published one.

This file must not know what is inside a file, nor how one is downloaded.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hansa.data.download import download
from hansa.data.sources import Source
from hansa.errors import DatasetCorrupt, DatasetMissing


@dataclass(frozen=True)
class Places:
    """Where to look for files.

    Attributes:
        folder: the user's own folder of data sets, `folder/mnist/...`, or of one data set's files; comes first.
        cache: where downloaded files are kept, in a folder for each data set.
        download: whether to download what is in neither.
    """

    folder: Path | None
    cache: Path
    download: bool = True

    def of(self, folder: str) -> Iterator[Path]:
        """The folders in which the files of the data set with this folder name may lie, the first first."""
        if self.folder is not None:
            yield self.folder / folder
            yield self.folder
        yield self.cache / folder


def find(source: Source, places: Places) -> Iterator[Path]:
    """The files on this machine that may be `source`'s, unpacked or packed."""
    names = (source.unpacked, source.file) if source.gzipped else (source.file,)
    return (path for folder in places.of(source.folder) for name in names if (path := folder / name).is_file())


def read(source: Source, places: Places) -> bytes:
    """What is in the file of `source`, unpacked where it is gzipped; downloaded into the cache where it is not here.

    Raises:
        DatasetMissing: it is not on this machine and cannot be had.
        DatasetCorrupt: it is truncated or altered.
    """
    stray: DatasetCorrupt | None = None
    for path in find(source, places):
        try:
            return contents(source, path)
        except DatasetCorrupt as error:
            if path.parent != places.folder:
                raise
            stray = error  # a folder of one data set's files may hold another one's, under the same names
    try:
        return _downloaded(source, places)
    except DatasetMissing:
        if stray is not None:
            raise stray from None
        raise


def _downloaded(source: Source, places: Places) -> bytes:
    """What is in the file of `source`, which is kept in the cache from now on if it is intact."""
    if not source.url:
        raise missing(source, places, "nobody publishes it")
    if not places.download:
        raise missing(source, places, "downloads are switched off")
    try:
        with download(source.url, places.cache / source.folder / source.file) as part:
            return contents(source, part, where=source.url)
    except OSError as error:
        raise missing(source, places, f"the download failed: {error}") from error


def contents(source: Source, path: Path, *, where: str = "") -> bytes:
    """What is in `path`, unpacked where `source` is gzipped and `path` still is.

    Args:
        source: what it must be.
        path: the file.
        where: named in the error instead of the path.

    Raises:
        DatasetCorrupt: it is truncated or altered.
    """
    where = where or str(path)
    packed = path.read_bytes()
    try:
        content = gzip.decompress(packed) if source.gzipped and packed[:2] == b"\x1f\x8b" else packed
    except (OSError, EOFError, zlib.error) as error:
        raise corrupt(source, f"a gzip file that cannot be unpacked to the end ({error})", where) from error
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise corrupt(source, found, where)
    return content


def corrupt(source: Source, found: str, where: str) -> DatasetCorrupt:
    """The error for a file of `source` with `found` for its hash."""
    again = "load again to download it" if source.url else "get it again from where you have it"
    return DatasetCorrupt(
        f"{source.file} is truncated or altered: expected sha256 {source.sha256}, found {found}",
        where=where,
        hint=f"delete the file if it is yours, and {again}",
    )


def missing(source: Source, places: Places, why: str) -> DatasetMissing:
    """The error for a file of `source` that is nowhere."""
    published = f"get {source.url} in another way" if source.url else f"find a copy of {source.file}"
    return DatasetMissing(
        f"{source.file} is not on this machine, and {why}",
        where=", ".join(str(folder) for folder in places.of(source.folder)),
        hint=f"{published}, and put it into {places.cache / source.folder};"
        f" or set HANSA_DATA to a folder that holds {source.folder}/{source.file}",
    )
