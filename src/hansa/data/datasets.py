"""Public data sets by name: found on this machine or downloaded, checked, and ready to be partitioned.

This file must not know how they are partitioned or what is trained on them.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hansa.data.cifar import cifar_columns
from hansa.data.dataset import ClientDataset
from hansa.data.files import Places, read
from hansa.data.idx import parse_idx
from hansa.data.normalise import Normalise
from hansa.data.schema import Schema, schema_of
from hansa.data.sources import CIFAR10, DIGITS, FASHION_MNIST, MNIST, MNIST_BY_WRITER, About, CifarSet, IdxSet, Source
from hansa.errors import DatasetCorrupt, DatasetMissing, MissingExtra, UnknownName

FOLDER = "HANSA_DATA"
"""The environment variable that names the user's own folder of data sets."""


@dataclass(frozen=True)
class Dataset:
    """A public data set.

    Attributes:
        name: what `load_dataset` calls it.
        title: what people call it.
        train: the training examples.
        test: the test examples.
        schema: what an example looks like.
        classes: how many there are.
        labels: the classes' names.
        licence: under which terms it is published.
        source: by whom, and which form of it this is.
    """

    name: str
    title: str
    train: ClientDataset
    test: ClientDataset
    schema: Schema
    classes: int
    labels: tuple[str, ...]
    licence: str
    source: str

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}: {len(self.train)} to train, {len(self.test)} to test, {self.classes} classes)"


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows."""
    return tuple(_LOADERS)


def load_dataset(name: str, *, folder: Path | str | None = None, download: bool = True) -> Dataset:
    """The public data set `name`: images in field "x" (channel first, normalised float32), labels in "y" (int64).

    Its files are looked for in `folder`, then in Hansa's cache, and then downloaded into the cache. Wherever they come
    from, they are compared with the hashes of the published ones.

    Args:
        name: one of `dataset_names()`.
        folder: holds the files, or a folder of them for each data set; the variable HANSA_DATA unless given.
        download: whether to download what is not on this machine.

    Raises:
        UnknownName: there is no such data set.
        DatasetMissing: a file is not on this machine and cannot be downloaded; says where to put it.
        DatasetCorrupt: a file is truncated or altered.
        MissingExtra: the data set needs a package that is not installed.
    """
    if name not in _LOADERS:
        raise UnknownName.among("data set", name, _LOADERS)
    import platformdirs

    named = folder or os.environ.get(FOLDER)
    cache = Path(platformdirs.user_cache_dir("hansa")) / "datasets"
    return _LOADERS[name](Places(Path(named).expanduser() if named else None, cache, download))


def load_digits(about: About) -> Dataset:
    """The 1,797 digits of 8×8 pixels that scikit-learn brings along; a fifth of each class is the test set.

    Its file is read as it lies: importing scikit-learn would take 40 MB and most of a second in every process.

    Raises:
        MissingExtra: scikit-learn is not installed.
        DatasetMissing: the file is not where scikit-learn keeps it.
    """
    missing = MissingExtra.of("scikit-learn", "sklearn", f"the data set {about.name!r}")
    try:
        found = importlib.util.find_spec("sklearn")
    except ImportError as error:
        raise missing from error
    if found is None or found.origin is None:
        raise missing
    file = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        table = np.loadtxt(file, delimiter=",")
    except OSError as error:
        raise DatasetMissing(
            f"this version of scikit-learn keeps its digits elsewhere: {error}",
            where=str(file),
            hint='install the version that Hansa was tested with: pip install "scikit-learn==1.9.1"',
        ) from error
    images, labels = table[:, :-1], table[:, -1]
    digits = ClientDataset({"x": images.reshape(-1, 1, 8, 8).astype(np.uint8), "y": labels.astype(np.int64)})
    train, test = digits.train_test_split(0.2, stratify="y")
    return _described(about, train, test, scale=16.0)


def load_idx(files: IdxSet, places: Places) -> Dataset:
    """A data set that is published in IDX files.

    Raises:
        DatasetMissing: a file is not on this machine and cannot be downloaded.
        DatasetCorrupt: a file is truncated, altered, or belongs to another set's images.
    """
    train, test = (ClientDataset(_idx_columns(sources, places)) for sources in (files.train, files.test))
    return _described(files.about, train, test)


def load_cifar(files: CifarSet, places: Places) -> Dataset:
    """CIFAR-10, in the form that can be had; its `source` says which; raises as `cifar_columns`."""
    train, test, form = cifar_columns(files, places)
    about = replace(files.about, source=f"{files.about.source}; {form}")
    return _described(about, ClientDataset(train), ClientDataset(test))


def _idx_columns(sources: Sequence[Source], places: Places) -> dict[str, np.ndarray[Any, Any]]:
    images, labels, *described = (parse_idx(read(source, places), source.file) for source in sources)
    columns = {"x": images[:, None], "y": labels.astype(np.int64)}
    for rows in described:
        # QMNIST's test file describes 50,000 digits more than MNIST has, after those that it has.
        rows = rows[: len(labels)]
        if not np.array_equal(rows[:, 0], labels):
            raise DatasetCorrupt(
                "the writers are not those of these images: the labels beside them differ",
                where=", ".join(source.file for source in sources),
                hint="get these files again",
            )
        columns["writer"] = rows[:, 2].astype(np.int64)
    return columns


def _described(about: About, train: ClientDataset, test: ClientDataset, *, scale: float = 255.0) -> Dataset:
    normalise = Normalise(about.mean, about.std, scale)
    train, test = train.with_transform(normalise), test.with_transform(normalise)
    schema = dict(schema_of(train))
    classes = len(about.labels)
    return Dataset(
        name=about.name,
        title=about.title,
        train=train,
        test=test,
        schema={**schema, "y": replace(schema["y"], classes=classes)},
        classes=classes,
        labels=about.labels,
        licence=about.licence,
        source=about.source,
    )


_LOADERS: Mapping[str, Callable[[Places], Dataset]] = {
    DIGITS.name: lambda places: load_digits(DIGITS),  # noqa: ARG005 - its files come with scikit-learn
    **{files.about.name: partial(load_idx, files) for files in (MNIST, FASHION_MNIST, MNIST_BY_WRITER)},
    CIFAR10.about.name: partial(load_cifar, CIFAR10),
}
