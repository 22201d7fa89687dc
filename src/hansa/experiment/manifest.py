"""The manifest: everything that is shipped to an owner, by name and hash, in a form of which there is exactly one.

Its hash is what a submitter signs and what an owner approves. A `Manifest` that exists is valid: whoever reads one need not
check a path, a size or a name again. This file must not know where the contents lie, and does no input or output.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hansa.errors import InputError
from hansa.experiment import paths
from hansa.experiment.requirements import MOST as MOST_REQUIREMENTS
from hansa.experiment.requirements import requirement
from hansa.experiment.requires import MOST_CORES, MOST_MEMORY, Requires
from hansa.protocol.peer import checked_name

FORMAT = 1
FILE_LIMIT, TOTAL_LIMIT, FILES_LIMIT = 1 << 20, 8 << 20, 500
"""Bytes of one file, bytes of all of them, and how many files."""
MANIFEST_LIMIT = 1 << 20
"""Bytes of an encoded manifest."""

_HASH = re.compile(r"[0-9a-f]{64}")
_PYTHON = re.compile(r"3\.(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2}))?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that is shipped.

    Attributes:
        path: relative to the entry's folder, with "/" between its parts; see `paths.check`.
        sha256: of its content, in small hexadecimal.
        size: in bytes.
    """

    path: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        paths.check(_text(self.path, "a file's path"))
        _check_content(self.sha256, self.size, self.path, FILE_LIMIT)


@dataclass(frozen=True, slots=True)
class InitialModel:
    """The safetensors file of the parameters that the run starts from: its sha256, and its size in bytes."""

    sha256: str
    size: int

    def __post_init__(self) -> None:
        _check_content(self.sha256, self.size, "initial", 1 << 50)


@dataclass(frozen=True)
class Manifest:
    """What is shipped, what it needs, and who should take part.

    Attributes:
        name: for people; not safe in a path.
        files: sorted by path.
        initial: the initial model.
        entry: the path of the experiment file, one of `files`.
        requirements: what must be installed, as PEP 508 strings, sorted.
        python: the oldest Python that will do.
        envoys: the owners that are asked to take part, sorted; none means any.
        labels: what an envoy must carry to be asked.
        cores: what an envoy must offer to be asked; memory in bytes, and a device, empty for none in particular.
        memory: see `cores`.
        device: see `cores`.
        at_least: how many envoys must take part.
        seed: of every random choice in the run.
        rounds: how many there will be, where that is known.
        format: of the manifest itself.

    Raises:
        InputError: on making one that is not valid.
    """

    name: str
    files: tuple[SourceFile, ...]
    initial: InitialModel
    entry: str = "experiment.py"
    requirements: tuple[str, ...] = ()
    python: str = "3.11"
    envoys: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    cores: int = 0
    memory: int = 0
    device: str = ""
    at_least: int = 1
    seed: int = 0
    rounds: int | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        _check_format(self.format)
        if _text(self.name, "name", longest=100).strip() != self.name or not self.name:
            raise InputError(f"an experiment's name is not empty and has no space at its ends: {self.name!r}")
        _kind(self.initial, InitialModel, "initial")
        _put(self, "files", sorted(_each(self.files, SourceFile, "files", FILES_LIMIT), key=lambda file: file.path))
        _put(self, "requirements", sorted(_each(self.requirements, str, "requirements", MOST_REQUIREMENTS)))
        _put(self, "envoys", sorted(_each(self.envoys, str, "envoys", 1000)))
        object.__setattr__(self, "labels", _labels(self.labels))
        self._check_files()
        _check_distinct(self.requirements, "requirements")
        for text in self.requirements:
            requirement(text)
        _check_distinct(self.envoys, "envoys")
        for name in self.envoys:
            checked_name(name, "name of an envoy")
        if not _PYTHON.fullmatch(_text(self.python, "python")):
            raise InputError(f"python is the oldest version that will do, such as '3.11', not {self.python!r}")
        _check_requires(self.cores, self.memory, self.device)
        _number(self.at_least, "at_least", 1, len(self.envoys) or 1_000_000)
        _number(self.seed, "seed", -(1 << 63), (1 << 64) - 1)
        if self.rounds is not None:
            _number(self.rounds, "rounds", 0, 1 << 53)

    def _check_files(self) -> None:
        paths.check_apart(file.path for file in self.files)
        total = sum(file.size for file in self.files)
        if total > TOTAL_LIMIT:
            raise InputError(
                f"the files have {total} bytes in all, and {TOTAL_LIMIT} are allowed",
                hint="ship source only; data stay with their owners",
            )
        if _text(self.entry, "entry") not in {file.path for file in self.files} or not self.entry.endswith(".py"):
            raise InputError(f"the entry {self.entry!r:.200} is none of the Python files")
        if "/" in self.entry:
            raise InputError(f"the entry lies at the top of the files, not at {self.entry!r:.200}")

    def encode(self) -> bytes:
        """Canonical JSON: UTF-8, keys sorted, no space."""
        data = {each.name: getattr(self, each.name) for each in fields(self)}
        data["files"] = [{"path": each.path, "sha256": each.sha256, "size": each.size} for each in self.files]
        data["initial"] = {"sha256": self.initial.sha256, "size": self.initial.size}
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The manifest that `encode` wrote.

        Raises:
            InputError: the bytes are not what `encode` writes for any manifest.
        """
        if len(data) > MANIFEST_LIMIT:
            raise InputError(f"a manifest has at most {MANIFEST_LIMIT} bytes, not {len(data)}")
        found = _object(_json(data), cls, "the manifest")
        _check_format(found["format"])
        found["initial"] = InitialModel(**_object(found["initial"], InitialModel, "initial"))
        files = enumerate(_each(found["files"], object, "files", FILES_LIMIT))
        found["files"] = tuple(SourceFile(**_object(each, SourceFile, f"files[{index}]")) for index, each in files)
        manifest = cls(**found)
        if manifest.encode() != data:
            raise InputError(
                "the manifest is not in canonical form: sorted keys and lists, UTF-8, no spaces",
                hint="write it with Manifest.encode",
            )
        return manifest

    @property
    def hash(self) -> str:
        """The sha256 of `encode()`, in hexadecimal: what is signed and approved."""
        return hashlib.sha256(self.encode()).hexdigest()


def _json(data: bytes) -> object:
    try:
        found: object = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"the manifest is no JSON: {problem}") from problem
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _object(value: object, kind: type[Any], where: str) -> dict[str, Any]:
    """A JSON object that has the fields of `kind` and no others."""
    if not isinstance(value, dict):
        raise InputError(f"an object is expected, not {type(value).__name__}", where=where)
    expected = {each.name for each in fields(kind)}
    if value.keys() != expected:
        missing, unknown = sorted(expected - value.keys()), sorted(value.keys() - expected)
        raise InputError(
            f"fields differ: missing {missing or 'none'}, unknown {unknown!r:.200}",
            where=where,
            hint="perhaps another version of Hansa wrote it",
        )
    return dict(value)


def _check_format(found: object) -> None:
    if type(found) is not int or found != FORMAT:
        raise InputError(
            f"the manifest has format {found!r:.40}; this version reads {FORMAT}",
            hint="use the same Hansa on both sides",
        )


def _kind(value: object, kind: type[Any], where: str) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{where} holds a {type(value).__name__}, and {kind.__name__} is expected")


def _each(values: object, kind: type[Any], where: str, most: int) -> list[Any]:
    if not isinstance(values, list | tuple):
        raise InputError(f"a list is expected, not {type(values).__name__}", where=where)
    if len(values) > most:
        raise InputError(f"{where} holds {len(values)}, and at most {most} are allowed")
    for value in values:
        _kind(value, kind, where)
    return list(values)


def _put(manifest: Manifest, name: str, values: list[Any]) -> None:
    object.__setattr__(manifest, name, tuple(values))


def _check_distinct(values: tuple[str, ...], where: str) -> None:
    for value, following in itertools.pairwise(values):
        if value == following:
            raise InputError(f"{value!r:.100} stands there twice", where=where)


def _text(value: object, where: str, *, longest: int = 300) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where} is text, not {type(value).__name__}")
    if len(value) > longest or not value.isprintable():
        raise InputError(f"{where} is one printable line of at most {longest} characters: {value!r:.100}")
    return value


def _number(value: object, where: str, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{where} is a whole number from {least} to {most}, not {value!r:.40}")


def _check_requires(cores: object, memory: object, device: object) -> None:
    _number(cores, "cores", 0, MOST_CORES)
    _number(memory, "memory", 0, MOST_MEMORY)
    Requires(device=_text(device, "device"))


def _labels(labels: object) -> dict[str, str]:
    if not isinstance(labels, Mapping) or len(labels) > 100:
        raise InputError("labels are at most 100 names with their values")
    for name, value in labels.items():
        if not _LABEL.fullmatch(_text(name, "a label's name")):
            raise InputError(f"{name!r:.100} cannot be a label's name", hint="use letters, digits, '.', '_', '-', '/'")
        _text(value, f"the label {name}", longest=100)
    return dict(sorted(labels.items()))


def _check_content(sha256: object, size: object, where: str, limit: int) -> None:
    if not isinstance(sha256, str) or not _HASH.fullmatch(sha256):
        raise InputError(f"a sha256 is 64 small hexadecimal digits, not {sha256!r:.80}", where=where)
    if type(size) is not int or not 0 <= size <= limit:
        raise InputError(f"a size is a whole number of bytes from 0 to {limit}, not {size!r:.40}", where=where)
