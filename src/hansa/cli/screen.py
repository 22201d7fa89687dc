"""What commands print: tables and lines for people, or one JSON document for programs.

Much of what is shown was written by others, somewhere else: it is never taken for markup, nor for a terminal's commands.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 160
"""Columns where nobody looks: in a file or a pipe a table is not folded to the width of a terminal."""

_PARTS = (("d", 86400), ("h", 3600), ("min", 60))
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def screen(as_json: bool = False) -> Console:
    """Where people read. With `--json` that is standard error, and only where it is a terminal."""
    stream = sys.stderr if as_json else sys.stdout
    wide = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(stderr=as_json, quiet=as_json and not stream.isatty(), highlight=False, markup=False, width=wide)


def document(value: Any) -> None:
    """Print the one JSON document."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def plain(text: object, style: str = "") -> Text:
    """A text of somebody else's, without what a terminal would obey."""
    said = "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in str(text))
    return Text(said, style=style)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[str] = ()) -> Table:
    """Rows under headings; the columns named in `numbers` are set to the right. A cell that is a `Text` keeps its style."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    return made


def pairs(values: Mapping[str, object]) -> Table:
    """Names with their values, one pair on a line; an empty value is left out."""
    made = Table.grid(padding=(0, 2))
    for name, value in values.items():
        if value not in ("", None):
            made.add_row(Text(name, style="bold"), value if isinstance(value, Text) else plain(value))
    return made


def when(seconds: float | None) -> str:
    """A moment, given in seconds since 1970, to the second in UTC."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def lasting(seconds: float) -> str:
    """A duration, in its largest unit but one that says enough: "49 s", "12 min", "3 h", "8 d"."""
    for unit, length in _PARTS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def sized(count: float) -> str:
    """A number of bytes: "812 B", "1.4 MiB"."""
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"
