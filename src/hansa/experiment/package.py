"""Packages: an experiment as it is shipped to an owner, source that a person can read; made here, and laid out there.

This file must not know how it travels, or who decides about it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hansa.errors import Damaged, ExperimentFileError, InputError
from hansa.experiment import disk
from hansa.experiment.installed import Installed
from hansa.experiment.manifest import InitialModel, Manifest, SourceFile
from hansa.experiment.readable import readable
from hansa.experiment.requirements import normal
from hansa.experiment.requires import NOTHING, Requires
from hansa.experiment.sources import explained, gather


@dataclass(frozen=True)
class Package:
    """A manifest with the contents that it names.

    Attributes:
        manifest: what is shipped.
        contents: each file's bytes by their sha256. The initial model is not among them.

    Raises:
        Damaged: on making one, where a content is missing, or is not what its hash says.
        InputError: where it is no text that an owner can read.
    """

    manifest: Manifest
    contents: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for file in self.manifest.files:
            if file.sha256 not in self.contents:
                raise Damaged(f"the content of {file.path} is missing", hint="send the package again")
            checked(file, self.contents[file.sha256])


def checked(file: SourceFile, content: bytes) -> str:
    """The text of a shipped file.

    Raises:
        Damaged: the content is not the one that the manifest names.
        InputError: it is no text that an owner can read.
    """
    found = hashlib.sha256(content).hexdigest()
    if len(content) != file.size or found != file.sha256:
        raise Damaged(
            f"{file.path} has {len(content)} bytes with sha256 {found}, not {file.size} with {file.sha256}",
            hint="it was changed on the way, or on the disk; send the package again",
        )
    return readable(file.path, content)


def pack(
    entry: Path,
    *,
    initial: InitialModel | tuple[str, int],
    text: str | None = None,
    include: Sequence[str] = (),
    requirements: Iterable[str] = (),
    name: str = "",
    python: str = "3.11",
    envoys: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    requires: Requires = NOTHING,
    at_least: int = 1,
    seed: int = 0,
    rounds: int | None = None,
    installed: Installed | None = None,
) -> Package:
    """The package of an experiment file: itself, the neighbours that it imports, and what is included by hand.

    Nothing is run. An import by a computed name is not seen: include such a file by hand.

    Args:
        entry: the experiment file; neighbours lie in its folder and below.
        initial: the sha256 and the size in bytes of the initial model's file.
        text: what the entry holds, where it is no file, such as `hansa.export` makes from a notebook; nothing is written.
        include: patterns of further files below that folder, such as "vocabulary.txt" or "configs/**/*.json"; hidden
            files and `__pycache__` are passed over.
        requirements: what must be installed at an owner beside Hansa.
        name: for people; the entry's own name where it is empty.
        python: see `Manifest`, as for the rest.
        envoys: see `Manifest`.
        labels: see `Manifest`.
        requires: what an owner must let it use to be asked.
        at_least: see `Manifest`.
        seed: see `Manifest`.
        rounds: see `Manifest`.
        installed: this machine's packages, unless a test says otherwise.

    Raises:
        ExperimentFileError: there is no such file, a file is no Python, or an import would fail at an owner.
        InputError: a file cannot be shipped, or a setting makes no sense.
    """
    if text is None and not entry.is_file():
        raise ExperimentFileError("there is no such experiment file", where=str(entry), hint="check the path")
    folder, requirements = entry.parent, normal(requirements)
    installed = Installed.here() if installed is None else installed
    given = {} if text is None else {entry: text.encode()}
    sources = gather(folder, [entry, *included(folder, include)], installed.has, given)
    troubles = sources.troubles + installed.troubles(sources.outside, requirements)
    if troubles:
        raise explained(troubles, "imports would fail at an owner")
    named = {path: (hashlib.sha256(content).hexdigest(), content) for path, content in sources.files.items()}
    manifest = Manifest(
        name=name or entry.stem,
        files=tuple(SourceFile(path, sha, len(content)) for path, (sha, content) in named.items()),
        initial=initial if isinstance(initial, InitialModel) else InitialModel(*initial),
        entry=entry.name,
        requirements=requirements,
        python=python,
        envoys=tuple(envoys),
        labels=labels or {},
        cores=requires.cores,
        memory=requires.bytes,
        device=requires.device,
        at_least=at_least,
        seed=seed,
        rounds=rounds,
    )
    return Package(manifest, dict(named.values()))


def included(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of a folder that match some patterns, such as "configs/**/*.json".

    Raises:
        InputError: a pattern leads out of the folder, or matches no file.
    """
    found: list[Path] = []
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts
        if not parts or pattern.startswith("/") or ".." in parts or Path(pattern).anchor:
            raise InputError(f"{pattern!r} leads out of the experiment's folder", hint="include what lies in it")
        try:
            matches = [each for each in sorted(folder.glob(pattern)) if each.is_file() and not _derived(folder, each)]
        except (ValueError, NotImplementedError) as problem:
            raise InputError(f"{pattern!r} is no pattern of files: {problem}") from problem
        if not matches:
            raise InputError(f"{pattern!r} matches no file", where=str(folder), hint="check the pattern")
        found += matches
    return found


def _derived(folder: Path, file: Path) -> bool:
    """Whether a file is hidden, or something that Python or an editor left."""
    return any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(folder).parts)


def unpack(manifest: Manifest, read: Callable[[str], bytes], folder: Path) -> None:
    """Lay out a package's files, for nobody else to see: folders 0700, files 0600.

    The folder appears complete or not at all; unpacking again checks what is there and changes nothing.

    Args:
        manifest: what to lay out.
        read: gives a content by its sha256.
        folder: its last part is made; the one that it lies in as well, if need be.

    Raises:
        Damaged: a content is not what its hash says, or `folder` holds something else already.
        InputError: a content is no text that a person can read.
        StoreError: the disk refuses, as `DiskFull` where there is no room.
    """
    with disk.explained("the experiment's files cannot be laid out", folder):
        if _is_filled(folder):
            _check_laid_out(manifest, folder)
            return
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _lay_out(manifest, read, draft)
            try:
                draft.rename(folder)
            except OSError:
                if not _is_filled(folder):
                    raise
                _check_laid_out(manifest, folder)  # another process was first
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        disk.settle(folder.parent)


def _is_filled(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _lay_out(manifest: Manifest, read: Callable[[str], bytes], draft: Path) -> None:
    folders = {draft}
    for file in manifest.files:
        content = read(file.sha256)
        checked(file, content)
        place = draft
        for part in PurePosixPath(file.path).parent.parts:
            place = place / part
            if place not in folders:
                place.mkdir(mode=0o700)
                folders.add(place)
        disk.create(draft / file.path, content)
    for each in folders:
        disk.settle(each)


def _check_laid_out(manifest: Manifest, folder: Path) -> None:
    """Raise `Damaged` unless a folder holds exactly a manifest's files, but for what Python compiled of them."""
    there = {
        each.relative_to(folder).as_posix(): each
        for each in folder.rglob("*")
        if (each.is_symlink() or not each.is_dir()) and "__pycache__" not in each.relative_to(folder).parts
    }
    hint = "remove the folder, and it will be laid out again"
    if different := sorted(there.keys() ^ {file.path for file in manifest.files}):
        raise Damaged(f"the experiment's folder differs in {different[0]}", where=str(folder), hint=hint)
    for file in manifest.files:
        path = there[file.path]
        if path.is_symlink() or hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
            raise Damaged(f"{file.path} was changed after it was laid out", where=str(folder), hint=hint)
