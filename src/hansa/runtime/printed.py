"""What code prints while it works, remembered besides: where an owner allows it, the scientist gets to see it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TextIO

MOST = 64 * 1024
"""Characters of one visit; what is printed after them stays at the owner."""


class Printed(io.TextIOBase):
    """A stream that writes to another, and remembers the beginning.

    Attributes:
        text: what was written, at most `MOST` characters.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.text = stream, ""

    def write(self, text: str, /) -> int:
        """Write it there."""
        self.text += text[: MOST - len(self.text)]
        return self._stream.write(text)

    def flush(self) -> None:
        """Flush the other."""
        self._stream.flush()

    def writable(self) -> bool:
        """Always."""
        return True


@contextlib.contextmanager
def printing(stream: TextIO) -> Iterator[Printed]:
    """What is printed to standard output or standard error within goes to `stream`, and is remembered."""
    printed = Printed(stream)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield printed
