"""CsvLogger and JsonLinesLogger: every number of a run as a line of a file that only grows.

A line is written whole and flushed as soon as its ask is closed. Several runs may go to one file, one after the other: each
line names its run.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hansa.callbacks.numbers import Number, numbers
from hansa.callbacks.port import Watched
from hansa.core.history import Entry
from hansa.errors import ConfigError

COLUMNS = ("run", *Number._fields)


@dataclass(frozen=True)
class CsvLogger:
    """A CSV file with a line for every number: run, round, work, model, client, metric, value.

    Attributes:
        path: the file; made with its headings where there is none, and written on otherwise.
        clients: write what each client measured, too.
    """

    path: Path | str
    clients: bool = True

    def started(self, _run: Watched) -> None:
        """See that the file can be written.

        Raises:
            ConfigError: it cannot, or it has other headings.
        """
        headings = _line(COLUMNS)
        _begin(Path(self.path), headings)
        with Path(self.path).open(encoding="utf-8", newline="") as file:
            if file.readline() != headings:
                raise ConfigError(
                    "the file has other headings than this callback writes",
                    where=str(self.path),
                    hint="name another one",
                )

    def entry(self, run: Watched, entry: Entry) -> None:
        """Write its numbers. Those that are not finite are written nan, inf and -inf."""
        _append(Path(self.path), (_line((run.id, *each)) for each in numbers(entry, clients=self.clients)))

    def ended(self, _run: Watched) -> None:
        """Nothing more: every line is in the file already."""


@dataclass(frozen=True)
class JsonLinesLogger:
    """A file with a JSON object a line for every number, with the fields of `CsvLogger`; null for what is not finite.

    Attributes:
        path: the file; written on where it exists.
        clients: write what each client measured, too.
    """

    path: Path | str
    clients: bool = True

    def started(self, _run: Watched) -> None:
        """See that the file can be written.

        Raises:
            ConfigError: it cannot.
        """
        _begin(Path(self.path), "")

    def entry(self, run: Watched, entry: Entry) -> None:
        """Write its numbers."""
        _append(Path(self.path), (_object(run.id, each) for each in numbers(entry, clients=self.clients)))

    def ended(self, _run: Watched) -> None:
        """Nothing more: every line is in the file already."""


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _object(run: str, number: Number) -> str:
    value = number.value if math.isfinite(number.value) else None
    return json.dumps({"run": run, **number._asdict(), "value": value}, ensure_ascii=False) + "\n"


def _append(path: Path, lines: Iterable[str]) -> None:
    with path.open("ab") as file:
        file.write("".join(lines).encode())


def _begin(path: Path, headings: str) -> None:
    """Make the file with its headings, or end a last line that somebody was killed in the middle of."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            size = file.tell()
            file.seek(max(size - 1, 0))
            if not size:
                file.write(headings.encode())
            elif file.read(1) != b"\n":
                file.write(b"\n")
    except OSError as problem:
        raise ConfigError(f"the file cannot be written: {problem.strerror}", where=str(path)) from problem
