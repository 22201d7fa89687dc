"""What workers print, on its way to the parent's own output; the last of it is kept, for when one dies.

This file must not know what runs in them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
import threading
from typing import IO

KEPT = 4000
"""Characters of the standard error that are kept."""


class Printed:
    """Reads two pipes in a thread of its own until both end, and writes what comes to sys.stdout and sys.stderr.

    Args:
        out: the pipe of the standard output.
        error: that of the standard error.
    """

    def __init__(self, out: IO[bytes], error: IO[bytes]) -> None:
        self._out, self._error, self._last = out, error, ""
        self._thread = threading.Thread(target=self._pump, name="hansa worker output", daemon=True)
        self._thread.start()

    @property
    def last(self) -> str:
        """The end of what was written to the standard error."""
        return self._last

    def finish(self, patience: float) -> None:
        """Wait for the end of what was printed; a process that inherited the pipes may keep it for longer."""
        self._thread.join(patience)

    def _pump(self) -> None:
        with selectors.DefaultSelector() as either, self._out, self._error:
            either.register(self._out, selectors.EVENT_READ)
            either.register(self._error, selectors.EVENT_READ)
            while either.get_map():
                for key, _ in either.select():
                    part = os.read(key.fd, 1 << 16)
                    if not part:
                        either.unregister(key.fileobj)
                        continue
                    text = part.decode(errors="replace")
                    if key.fileobj is self._error:
                        self._last = (self._last + text)[-KEPT:]
                    stream = sys.stderr if key.fileobj is self._error else sys.stdout
                    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
                        stream.write(text)
                        stream.flush()
