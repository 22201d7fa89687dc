"""The environment that a child runs in: the interpreter that runs here, or a virtual environment made for the requirements.

An isolated environment sees Hansa and what Hansa needs where they are installed already, through a `.pth` file, and has what
the experiment declares installed in front of them. It is made once and reused. This file must not know what runs in it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

import hansa
from hansa.errors import ChildDied, InputError, StoreError
from hansa.experiment import disk, installer
from hansa.experiment.requirements import applies, builds, normal, requirement, with_extras

Progress = Callable[[str], None]
"""Is told, line by line, what is being done."""

_LINKS = "hansa-links.pth"


@dataclass(frozen=True)
class Environment:
    """Where a child runs.

    Attributes:
        python: its interpreter; not resolved, because a virtual environment is known by the link.
        kind: the interpreter that runs here, or one of its own.
        versions: the installed version of each declared requirement that applies here, by canonical name.
    """

    python: Path
    kind: Literal["inherited", "isolated"]
    versions: dict[str, str] = field(default_factory=dict)


def inherit(requirements: Iterable[str] = (), *, python: str = "3.11") -> Environment:
    """The interpreter that runs here, if it has what is required.

    Args:
        requirements: as PEP 508 strings.
        python: the oldest Python that will do.

    Raises:
        InputError: a requirement is none, or is not satisfied here; all that lacks is named.
    """
    wanted = normal(requirements)
    _check_python(python)
    if lacks := lacking(wanted):
        raise InputError(
            f"this environment lacks what the experiment requires: {'; '.join(lacks)}",
            where=sys.prefix,
            hint="install that here, or let the experiment run in an environment of its own (isolated)",
        )
    return Environment(Path(sys.executable), "inherited", _versions(wanted, None))


def isolated(
    requirements: Iterable[str],
    cache: Path,
    *,
    python: str = "3.11",
    only_binary: bool = True,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
) -> Environment:
    """A virtual environment that has what is required, made unless the cache holds it.

    It appears in the cache complete or not at all, and two processes that want the same one make it once. Commands in its
    `bin` folder do not work, as it is made under another name; run `python -m ...`.

    Args:
        requirements: as PEP 508 strings; pip installs them from the index that it is configured for on this machine.
        cache: the folder of all environments; made, for nobody else to see, if need be.
        python: the oldest Python that will do.
        only_binary: install wheels only. Otherwise pip may run a distribution's own code to build one.
        progress: is told what is being done.
        cancelled: set it, from any thread, to give up.

    Raises:
        InputError: a requirement is none, or cannot be installed.
        ChildDied: it was cancelled, or pip was killed.
        StoreError: the disk refuses, as `DiskFull` where there is no room.
    """
    wanted = normal(requirements)
    _check_python(python)
    tell, cancelled = progress or _tell_nobody, cancelled or threading.Event()
    links = _links()
    folder = cache / _name(wanted, links, only_binary)
    with disk.explained("the environment cannot be made", folder):
        disk.make_private(cache)
        with _locked(folder.with_suffix(".lock"), tell, cancelled):
            if not _is_whole(folder, wanted, links):
                _make(folder, wanted, links, only_binary, tell, cancelled)
    return Environment(_python_of(folder), "isolated", _versions(wanted, [_packages_of(folder), *links]))


def lacking(requirements: Iterable[str], path: Sequence[str] | None = None) -> tuple[str, ...]:
    """What is not satisfied, one phrase for each; with a distribution's extras, what these need as well.

    Args:
        requirements: as PEP 508 strings; those that do not apply to this machine are passed over.
        path: the folders to look in; None for those of the running interpreter.

    Raises:
        InputError: a requirement is none.
    """
    lacks: list[str] = []
    for text in requirements:
        declared = requirement(text)
        for need in with_extras(declared, lambda name: _find(name, path)) if applies(declared) else ():
            behind = "" if need is declared else f" (for {declared})"
            found = _version(need.name, path)
            if found is None:
                lacks.append(f"{need}{behind}, which is not installed")
            elif not _satisfies(found, need):
                lacks.append(f"{need}{behind}, but {need.name} {found} is installed")
    return tuple(dict.fromkeys(lacks))


def _check_python(oldest: str) -> None:
    try:
        enough = Version(platform.python_version()) >= Version(oldest)
    except InvalidVersion as problem:
        raise InputError(f"{oldest!r} is no version of Python", hint="write it as '3.11'") from problem
    if not enough:
        raise InputError(
            f"the experiment needs Python {oldest} or newer, and this is {platform.python_version()}",
            where=sys.executable,
            hint="run Hansa with a newer Python here",
        )


def _find(name: str, path: Sequence[str] | None) -> metadata.Distribution | None:
    paths: dict[str, Any] = {} if path is None else {"path": list(path)}
    found = (each for build in builds(name) for each in metadata.distributions(name=build, **paths))
    return next(iter(found), None)


def _version(name: str, path: Sequence[str] | None) -> str | None:
    """The installed version; None also where half of a distribution is left that does not say it."""
    found = _find(name, path)
    try:
        return None if found is None else str(found.metadata["Version"] or "") or None
    except (KeyError, TypeError, AttributeError):
        return None


def _satisfies(found: str, need: Requirement) -> bool:
    try:
        return need.specifier.contains(Version(found), prereleases=True)
    except InvalidVersion:
        return False


def _versions(requirements: Iterable[str], path: Sequence[str] | None) -> dict[str, str]:
    names = [requirement(text).name for text in requirements]
    found = {canonicalize_name(name): _version(name, path) for name in names}
    return {str(name): version for name, version in sorted(found.items()) if version is not None}


def _links() -> list[str]:
    """The folders that hold Hansa and what it needs here, in the order of the path."""
    found, left, seen = [str(Path(hansa.__file__).parent.parent)], [Requirement("hansa[federation]")], set[str]()
    while left:
        need = left.pop()
        if (name := canonicalize_name(need.name)) in seen or (there := _find(name, None)) is None:
            continue
        seen.add(name)
        found.append(str(there.locate_file("")))
        needs = [Requirement(text) for text in (there.requires or ())]
        left += [each for each in needs if any(applies(each, extra) for extra in ("", *need.extras))]
    places = list(dict.fromkeys(str(Path(each).resolve()) for each in found))
    order = [str(Path(each).resolve()) for each in sys.path]
    return sorted(places, key=lambda place: order.index(place) if place in order else -1)


def _name(requirements: Sequence[str], links: Sequence[str], only_binary: bool) -> str:
    """The same for the same requirements, Python and Hansa."""
    python = [sys.version, sys.base_prefix, platform.system(), platform.machine()]
    of = [requirements, python, hansa.__version__, links, only_binary]
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:32]


def _is_whole(folder: Path, requirements: Sequence[str], links: Sequence[str]) -> bool:
    """Whether an environment is there and still has everything: what it sees outside itself may have been changed."""
    return _python_of(folder).is_file() and not lacking(requirements, [_packages_of(folder), *links])


def _make(
    folder: Path,
    requirements: Sequence[str],
    links: Sequence[str],
    only_binary: bool,
    tell: Progress,
    cancelled: threading.Event,
) -> None:
    draft = folder.with_suffix(".making")
    for left in (draft, folder):  # half of one that a crash left, or one that is no longer whole
        if left.exists():
            shutil.rmtree(left)
    tell("making a virtual environment")
    try:
        installer.stop_if(cancelled)
        ready = installer.is_ready()
        venv.EnvBuilder(symlinks=sys.platform != "win32", with_pip=bool(requirements) and not ready).create(draft)
        Path(_packages_of(draft), _LINKS).write_text("".join(f"{link}\n" for link in links), encoding="utf-8")
        if requirements:
            tell(f"installing {', '.join(requirements)}")
            installer.install(_python_of(draft), requirements, only_binary, tell, cancelled, ready=ready)
            if lacks := lacking(requirements, [_packages_of(draft), *links]):
                raise InputError(f"pip said that all is installed, but there lacks {'; '.join(lacks)}")
        draft.rename(folder)
        disk.settle(folder.parent)
    except subprocess.CalledProcessError as problem:
        raise StoreError(
            "a virtual environment cannot be made: ensurepip failed", hint="install Python's venv, or pip, here"
        ) from problem
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _packages_of(folder: Path) -> str:
    return sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})


@contextmanager
def _locked(path: Path, tell: Progress, cancelled: threading.Event) -> Iterator[None]:
    """Hold a lock that ends with the process, whatever becomes of it."""
    with path.open("a") as file:
        waits = False
        while not _lock(file.fileno()):
            if not waits:
                tell("another process makes the same environment; waiting for it")
            waits = True
            if cancelled.wait(0.1):
                raise ChildDied("the making of the environment was cancelled")
        yield


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; False where another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise
        return False
    return True


def _tell_nobody(line: str) -> None:
    """Nobody wants to know."""
