"""Paths of shipped files: such as mean the same place, below one folder, on every system that an owner may have.

This file must not know what lies there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from hansa.errors import InputError
from hansa.experiment.readable import SUFFIXES

LONGEST = 200
"""Characters of a path."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_FORBIDDEN = set('\\:*?"<>|')


def check(path: str) -> None:
    """Refuse a path that is not plain: absolute, leading upward, hidden, or of a kind of file that is not shipped.

    Raises:
        InputError: with what is wrong about it.
    """
    if (why := _fault(path)) is not None:
        raise InputError(f"{path!r:.240} cannot be the path of a shipped file: {why}")
    if (suffix := PurePosixPath(path).suffix) not in SUFFIXES:
        raise InputError(
            f"{path!r:.240} cannot be shipped: {suffix or 'no suffix'!r} is not one of the kinds of text that are",
            hint=f"only {', '.join(sorted(SUFFIXES))}; models and data do not travel with the source",
        )


def _fault(path: str) -> str | None:
    if not path or len(path) > LONGEST or not path.isprintable():
        return f"it is 1 to {LONGEST} printable characters"
    if path != unicodedata.normalize("NFC", path):
        return "its characters are not composed (NFC), and some systems would change it"
    if _FORBIDDEN & set(path):
        return f"it holds one of {' '.join(sorted(_FORBIDDEN))}"
    for part in path.split("/"):
        if not part:
            return "it is absolute, or has an empty part"
        if part.startswith("."):
            return "a part begins with '.'"
        if part.endswith((".", " ")) or part.startswith(" ") or _RESERVED.fullmatch(part):
            return f"some systems have no {part!r}"
    return None


def check_apart(paths: Iterable[str]) -> None:
    """Refuse paths that some system would take for the same, or for a file and a folder at once.

    Raises:
        InputError: naming both.
    """
    files, folders = dict[str, str](), dict[str, str]()
    for path in paths:
        if (other := files.get(_same(path))) is not None:
            raise _collision(other, path)
        files[_same(path)] = path
        for parent in list(PurePosixPath(path).parents)[:-1]:
            if (other := folders.setdefault(_same(str(parent)), str(parent))) != str(parent):
                raise _collision(other, str(parent))
    for same in files.keys() & folders.keys():
        raise _collision(folders[same], files[same])


def _same(path: str) -> str:
    """What a path becomes on a system that ignores case and the composition of characters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _collision(one: str, other: str) -> InputError:
    return InputError(f"{one!r} and {other!r} are one and the same place on some systems", hint="rename one of them")
