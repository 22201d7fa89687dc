"""The sources of an experiment: its file, and those of its neighbours that it imports, found without running any.

Neighbours lie in the experiment file's own folder and below; nothing outside it is ever taken. This file must not know what is
installed, only be told.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hansa.errors import ExperimentFileError, InputError
from hansa.experiment import paths
from hansa.experiment.imports import Import, Reach, exported, imports_of, parse
from hansa.experiment.manifest import FILE_LIMIT, FILES_LIMIT
from hansa.experiment.readable import readable

_COMPILED = (*importlib.machinery.EXTENSION_SUFFIXES, *importlib.machinery.BYTECODE_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Trouble:
    """An import that would fail at an owner: what is wrong, in which file and line, and what to do."""

    what: str
    where: str
    hint: str


def explained(troubles: Sequence[Trouble], things: str) -> ExperimentFileError:
    """One error that tells of all of them, each once; `things` says what they are, for a heading with their number."""
    distinct = list(dict.fromkeys(troubles))
    if len(distinct) == 1:
        return ExperimentFileError(distinct[0].what, where=distinct[0].where, hint=distinct[0].hint)
    lines = [f"  {each.where}: {each.what}; {each.hint}" for each in distinct[:20]]
    more = [f"  ... and {len(distinct) - 20} more"] if len(distinct) > 20 else []
    return ExperimentFileError("\n".join([f"{len(distinct)} {things}:", *lines, *more]))


@dataclass(frozen=True, slots=True)
class Outside:
    """An import of a module that is no neighbour: its full name, the file and line, and whether the code does without it."""

    module: str
    where: str
    optional: bool


@dataclass
class Sources:
    """What was found.

    Attributes:
        files: contents by path below the folder, with "/".
        outside: imports that lead out of the folder and run at an owner.
        troubles: imports that no installed package can mend.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    outside: list[Outside] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)


def gather(
    folder: Path, first: Iterable[Path], installed: Callable[[str], bool], given: Mapping[Path, bytes] | None = None
) -> Sources:
    """The files that `first` need, themselves included.

    Args:
        folder: where neighbours lie.
        first: the experiment file and whatever is included by hand, in `folder`.
        installed: whether a module of this top-level name is installed; one that is goes before a folder without
            `__init__.py`, as it does when Python imports it.
        given: contents of files that are not read from the disk, by path.

    Raises:
        InputError: a file lies outside, cannot be read, or is no text that an owner can read.
        ExperimentFileError: a file is no Python.
    """
    sources, left = Sources(), deque(first)
    neighbours = _Neighbours(folder, installed)
    while left:
        file = left.popleft()
        path = file.relative_to(folder).as_posix()
        if path in sources.files:
            continue
        if len(sources.files) == FILES_LIMIT:
            raise InputError(f"more than {FILES_LIMIT} files would be shipped", hint="include fewer")
        sources.files[path] = content = given[file] if given and file in given else _read(folder, file)
        text = readable(path, content)
        if file.suffix != ".py":
            continue
        left.extend(neighbours.packages(file))
        for each in imports_of(parse(text, path)):
            where = f"{path}:{each.line}"
            try:
                found = neighbours.resolve(each, file, where)
            except _Astray as problem:
                if each.reach is Reach.NEEDED:
                    sources.troubles.append(problem.trouble)
                continue
            left.extend(found or ())
            if found is None and each.reach is not Reach.UNUSED:
                sources.outside.append(Outside(each.module, where, each.reach is Reach.OPTIONAL))
    return sources


def _read(folder: Path, file: Path) -> bytes:
    path = file.relative_to(folder).as_posix()
    paths.check(path)
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path} is a link that leads out of {folder}", hint="put a copy in its place")
    try:
        if (size := file.stat().st_size) > FILE_LIMIT:
            raise InputError(f"{path} has {size} bytes, and {FILE_LIMIT} are allowed", hint="ship source, not data")
        return file.read_bytes()
    except OSError as problem:
        raise ExperimentFileError(f"it cannot be read: {problem.strerror}", where=str(file)) from problem


class _Astray(Exception):
    """An import that leads to no file although it should."""

    def __init__(self, what: str, where: str, hint: str) -> None:
        super().__init__(what)
        self.trouble = Trouble(what, where, hint)


class _Neighbours:
    """Finds modules below a folder, as Python would with that folder first on its path."""

    def __init__(self, folder: Path, installed: Callable[[str], bool]) -> None:
        self._folder, self._installed = folder, installed
        self._listings: dict[Path, frozenset[str]] = {}

    def packages(self, file: Path) -> list[Path]:
        """The `__init__.py` of every package that a file lies in."""
        above = file.relative_to(self._folder).parents
        return [self._folder / each / "__init__.py" for each in above if each.name and self._is_package(each)]

    def resolve(self, each: Import, file: Path, where: str) -> list[Path] | None:
        """The files that an import runs; None where it leads to no neighbour. Raises `_Astray`."""
        named = tuple(each.module.split(".")) if each.module else ()
        if each.level:
            inside = file.relative_to(self._folder).parent.parts
            if each.level > len(inside):
                raise _Astray(
                    f"a relative import of {'.' * each.level}{each.module} in a file that lies in no such package",
                    where,
                    "import a neighbour of the experiment file by its plain name",
                )
            named = inside[: len(inside) - each.level + 1] + named
        files, depth = self._walk(named, where)
        if depth == 0 or (not each.level and not self._goes_first(named[0], where)):
            return None
        if depth < len(named):
            raise _Astray(f"there is no module {'.'.join(named)} beside the experiment file", where, "check its name")
        names = each.names
        if names == ("*",) and files and files[-1].name == "__init__.py":
            names = exported(parse(readable(str(files[-1]), _read(self._folder, files[-1])), str(files[-1])))
        for name in names:
            further, found = self._walk((*named, name), where)
            files += further if found == len(named) + 1 else []
        return files

    def _goes_first(self, top: str, where: str) -> bool:
        """Whether a neighbour is what Python imports under its name. Raises `_Astray` where that hangs on what is loaded."""
        regular = f"{top}.py" in self._names(self._folder) or self._is_package(Path(top))
        if regular and (top in sys.stdlib_module_names or top == "hansa"):
            raise _Astray(
                f"the neighbour {top} has the name of {'Hansa itself' if top == 'hansa' else 'a standard module'}",
                where,
                "rename it",
            )
        return regular or not (top in sys.stdlib_module_names or self._installed(top))

    def _walk(self, named: Sequence[str], where: str) -> tuple[list[Path], int]:
        """The files that importing a dotted name runs, and how many of its parts there are."""
        at, files = self._folder, list[Path]()
        for depth, part in enumerate(named):
            names = self._names(at)
            if part in names and self._is_package((at / part).relative_to(self._folder)):
                files.append(at / part / "__init__.py")
            elif f"{part}.py" in names:
                return [*files, at / f"{part}.py"], depth + 1
            elif compiled := sorted(name for name in names if name in {part + suffix for suffix in _COMPILED}):
                raise _Astray(
                    f"{compiled[0]} is compiled, and no owner can read it", where, "ship its source, or install it"
                )
            elif not (part in names and next((at / part).rglob("*.py"), None)):
                return files, depth
            at = at / part
        return files, len(named)

    def _is_package(self, path: Path) -> bool:
        return "__init__.py" in self._names(self._folder / path)

    def _names(self, folder: Path) -> frozenset[str]:
        """What a folder holds, in exactly this spelling: Python tells small letters from capitals on every system."""
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(each.name for each in folder.iterdir())
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]
