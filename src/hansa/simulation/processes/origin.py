"""The origin: where a worker finds the works. What a deployed federation could load, a worker can; nothing is pickled.

This file must not know what workers do with them.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hansa.core.work import Work
from hansa.errors import ConfigError, ExperimentFileError
from hansa.experiment.files import RUN_NAME, load_experiment
from hansa.experiment.installed import Installed
from hansa.experiment.package import included
from hansa.experiment.sources import explained, gather


class _Folder:
    """A folder that goes with the object, without the warning that `tempfile.TemporaryDirectory` then has."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="hansa-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Found:
    """What a worker found.

    Attributes:
        works: by name.
        names: what the experiment's file defines.
    """

    works: Mapping[str, Work]
    names: Mapping[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where works come from: use `Origin.attribute(...)`, `Origin.file(...)` or `Origin.source(...)`.

    Attributes:
        target: "module:attribute" of a mapping of works; or the path of an experiment file.
        path: entries for a worker's sys.path, before this process' own.
        own: the module that the experiment's file is in this process: "__main__" for a script that runs.
        names: what that file defines here: where its own classes are found again when a worker sends one.
        folder: where the source was laid out, kept for as long as the origin is.
    """

    target: str
    path: tuple[str, ...] = ()
    own: str = ""
    names: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)
    folder: object = field(default=None, compare=False, repr=False)

    @classmethod
    def attribute(cls, target: str, path: Sequence[str] = ()) -> Origin:
        """An attribute of a module that workers import, such as "my.works:WORKS".

        Raises:
            ConfigError: `target` is not "module:attribute".
        """
        module, colon, name = target.partition(":")
        if not (module and colon and name.isidentifier()):
            raise ConfigError(f"{target!r} names no works", hint="write it as module:attribute")
        return cls(target, tuple(path))

    @classmethod
    def file(cls, path: Path, own: str = RUN_NAME, names: Mapping[str, Any] | None = None) -> Origin:
        """An experiment file where it lies, and its neighbours.

        Args:
            path: the file.
            own: the module that it is in this process.
            names: what it defines here; unless given, whatever that module does.
        """
        known: Mapping[str, Any] = vars(sys.modules[own]) if names is None and own in sys.modules else names or {}
        return cls(str(path.resolve()), (), own, known)

    @classmethod
    def source(
        cls,
        entry: Path,
        text: str,
        own: str,
        names: Mapping[str, Any] | None = None,
        include: Sequence[str] = (),
    ) -> Origin:
        """A source that was exported from a script or a notebook, laid out with its neighbours as an owner gets it.

        The folder goes with the origin.

        Args:
            entry: the file that it was made of; its neighbours lie in that folder.
            text: the source.
            own: the module that it is in this process, "__main__" for a script and a notebook.
            names: as for `file`.
            include: patterns of further files, as an `Experiment` has them.

        Raises:
            ExperimentFileError: a neighbour cannot be found, or is no Python.
            InputError: a file is none that an owner would get.
        """
        beside = entry.parent
        sources = gather(
            beside, [entry, *included(beside, include)], Installed.here().has, given={entry: text.encode()}
        )
        if sources.troubles:
            raise explained(sources.troubles, "imports would fail in a worker")
        folder = _Folder()
        _lay_out(sources.files, folder.path)
        origin = cls.file(folder.path / entry.name, own, names)
        return cls(origin.target, (), own, origin.names, folder)

    def contents(self) -> dict[str, bytes]:
        """The files by path, where the works come from an experiment file: for a machine that does not have them."""
        if self._is_attribute:
            return {}
        entry = Path(self.target)
        if isinstance(self.folder, _Folder):
            files = [each for each in self.folder.path.rglob("*") if each.is_file() and "__pycache__" not in each.parts]
            return {each.relative_to(self.folder.path).as_posix(): each.read_bytes() for each in files}
        return gather(entry.parent, [entry], Installed.here().has).files

    @classmethod
    def unpacked(cls, name: str, contents: Mapping[str, bytes]) -> Origin:
        """The origin of `contents` on another machine; `name` is the experiment file's."""
        folder = _Folder()
        _lay_out(contents, folder.path)
        return cls(str(folder.path / name), folder=folder)

    @property
    def _is_attribute(self) -> bool:
        return ":" in self.target and not Path(self.target).is_file()

    @contextmanager
    def found(self) -> Iterator[Found]:
        """In a worker: load the works; within, the file's functions find its neighbours.

        Raises:
            HansaError: there are none, or loading them raises.
        """
        if not self._is_attribute:
            file = load_experiment(Path(self.target))
            with file.importing():
                yield Found(file.experiment.plan.works, file.names)
            return
        module, _, name = self.target.partition(":")
        try:
            works = getattr(importlib.import_module(module), name)
        except Exception as problem:
            what = f"the works {self.target} cannot be loaded: {type(problem).__name__}: {problem}"
            raise ExperimentFileError(what, hint="import them by hand to see where it fails") from problem
        if not isinstance(works, Mapping):
            raise ExperimentFileError(f"{self.target} is no mapping of works, but {type(works).__name__}")
        yield Found(works, {})


def _lay_out(contents: Mapping[str, bytes], folder: Path) -> None:
    for path, content in contents.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
