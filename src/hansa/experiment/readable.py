"""Readable text: what is shipped to an owner must be what a person sees who reads it.

So it is UTF-8 without control characters (a terminal obeys some of them: lines can be hidden) and without those that reverse
the direction of writing (Boucher & Anderson, Trojan Source, 2021), and Python must not read it in another encoding.
This file must not know why it is read.
"""

from __future__ import annotations

import io
import re
import tokenize

from hansa.errors import InputError

SUFFIXES = frozenset({".cfg", ".csv", ".ini", ".json", ".md", ".py", ".pyi", ".toml", ".tsv", ".txt", ".yaml", ".yml"})
"""The kinds of file that may be shipped."""

_UNSEEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")
"""Control characters but for tab, line feed, form feed and a carriage return before a line feed; changes of direction."""


def readable(path: str, content: bytes) -> str:
    """The text of a file, as a person and Python will both read it; without a byte order mark.

    Args:
        path: names it in an error, and says by ".py" that it is Python.
        content: its bytes.

    Raises:
        InputError: it is no such text.
    """
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        raise InputError(
            f"{path} is not UTF-8 text: byte {problem.start} is 0x{content[problem.start]:02x}",
            hint="only text that an owner can read is shipped; leave the file out, or save it as UTF-8",
        ) from problem
    if (unseen := _UNSEEN.search(text)) is not None:
        line = text.count("\n", 0, unseen.start()) + 1
        raise InputError(
            f"{path} holds the character U+{ord(unseen[0]):04X} in line {line}, which a reader does not see",
            hint="remove it, or write it as an escape",
        )
    if path.endswith((".py", ".pyi")):
        _check_encoding(path, content)
    return text


def _check_encoding(path: str, content: bytes) -> None:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    except SyntaxError as problem:
        raise InputError(f"{path} declares an encoding that Python does not have: {problem.msg}") from problem
    if encoding not in ("utf-8", "utf-8-sig"):
        raise InputError(
            f"{path} asks Python to read it as {encoding!r}; what runs would not be what a reader sees",
            hint="save it as UTF-8, and remove the declaration from its first two lines",
        )
