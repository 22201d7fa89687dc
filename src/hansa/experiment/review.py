"""Reviews: what an owner reads before they decide, above all what has changed since the version that they approved last.

Pure functions of two manifests and their texts. This file must not know where those are kept, or how they are shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from hansa.experiment.manifest import Manifest


@dataclass(frozen=True)
class ReviewedFile:
    """A shipped file with its text, without a byte order mark."""

    path: str
    sha256: str
    size: int
    text: str


@dataclass(frozen=True)
class FileChange:
    """What became of one file since the last approved version; `diff` is a unified diff, as lines joined."""

    path: str
    kind: Literal["added", "removed", "changed"]
    diff: str


@dataclass(frozen=True)
class Review:
    """A package to be judged.

    Attributes:
        hash: the manifest's: what a decision binds to.
        manifest: everything else about it.
        signers: who submitted it, the first one first.
        files: all of them, with their texts, by path.
        previous: the hash of the version that was approved last, of the same name and signer; None for the first.
        changes: the files that differ from it; every file is "added" where there is none.
        requirements_added: those that it did not have.
        requirements_removed: those that only it had.
        settings: other fields of the manifest that differ, as pairs (before, now) by name.
    """

    hash: str
    manifest: Manifest
    signers: tuple[str, ...]
    files: tuple[ReviewedFile, ...]
    previous: str | None
    changes: tuple[FileChange, ...]
    requirements_added: tuple[str, ...]
    requirements_removed: tuple[str, ...]
    settings: Mapping[str, tuple[Any, Any]]

    @property
    def requirements(self) -> tuple[str, ...]:
        """What must be installed."""
        return self.manifest.requirements


def compared(
    manifest: Manifest,
    signers: tuple[str, ...],
    texts: Mapping[str, str],
    before: Manifest | None,
    texts_before: Mapping[str, str],
) -> Review:
    """The review of a package.

    Args:
        manifest: the package's.
        signers: who submitted it.
        texts: its files' texts by path.
        before: the manifest of the version that was approved last.
        texts_before: that version's texts by path; empty where there is none.
    """
    files = tuple(ReviewedFile(each.path, each.sha256, each.size, texts[each.path]) for each in manifest.files)
    had = set(before.requirements) if before is not None else set()
    return Review(
        hash=manifest.hash,
        manifest=manifest,
        signers=signers,
        files=files,
        previous=None if before is None else before.hash,
        changes=_changes(manifest, texts, before, texts_before),
        requirements_added=tuple(each for each in manifest.requirements if each not in had),
        requirements_removed=tuple(sorted(had - set(manifest.requirements))),
        settings={} if before is None else _settings(before, manifest),
    )


def _changes(
    manifest: Manifest, texts: Mapping[str, str], before: Manifest | None, texts_before: Mapping[str, str]
) -> tuple[FileChange, ...]:
    """By the files' hashes, not their texts: a byte order mark that came or went is a change with an empty diff."""
    now = {each.path: each.sha256 for each in manifest.files}
    then = {each.path: each.sha256 for each in before.files} if before is not None else {}
    changes = []
    for path in sorted(path for path in now.keys() | then.keys() if now.get(path) != then.get(path)):
        kind: Literal["added", "removed", "changed"]
        kind = "added" if path not in then else "removed" if path not in now else "changed"
        changes.append(FileChange(path, kind, _diff(path, texts_before.get(path), texts.get(path))))
    return tuple(changes)


def _diff(path: str, before: str | None, now: str | None) -> str:
    """A unified diff that `patch` takes; only line feeds end a line, as in an editor."""
    names = ("/dev/null" if before is None else f"a/{path}", "/dev/null" if now is None else f"b/{path}")
    lines = difflib.unified_diff(_lines(before), _lines(now), *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str | None) -> list[str]:
    parts = (text or "").split("\n")
    return [f"{each}\n" for each in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _settings(before: Manifest, now: Manifest) -> dict[str, tuple[Any, Any]]:
    names = [each.name for each in fields(Manifest) if each.name not in ("files", "requirements")]
    return {
        name: (getattr(before, name), getattr(now, name))
        for name in names
        if getattr(before, name) != getattr(now, name)
    }
