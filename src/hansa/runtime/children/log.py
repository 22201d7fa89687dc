"""A child's standard output and error, into a file that stays small. It must not know what the child is for.

A child that prints without end may fill neither the disk nor its parent's time: the file is turned over (`log`, then `log.1`),
so that the last lines, which tell how a child ended, are always there; and reading is held to a rate, so that the child waits.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

_CHUNK = 2**16
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_BYTES_A_SECOND = 16 * 2**20


class CappedLog:
    """Appends to a file, and turns it over at half of `most` bytes; file and predecessor stay under `most` together.

    Args:
        path: of the file; its folder must exist. The predecessor has the suffix `.1` added.
        most: bytes of both.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path, self._half = path, max(most // 2, 1)
        self._file: FileIO | None = self._open()

    def write(self, data: bytes) -> None:
        """Append; what the disk does not take is dropped, since a full disk must not stop a child that prints."""
        while data and self._file is not None:
            try:
                room = self._half - self._file.tell()
                if room <= 0:
                    self._file.close()
                    self._path.replace(self._path.with_name(self._path.name + ".1"))
                    self._file = self._open()
                    continue
                data = data[self._file.write(data[:room]) :]
            except OSError:
                self.close()

    def close(self) -> None:
        """Close the file; what is written afterwards is dropped."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a disk may say only now that it is full
                self._file.close()
            self._file = None

    def _open(self) -> FileIO:
        return FileIO(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _FLAGS, 0o600), "ab")


class Pace:
    """A bucket of tokens: so many a second, and as many at once as come in one second.

    Args:
        rate: tokens a second.
        clock: seconds, never running backwards.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate, self._clock = rate, clock
        self._tokens, self._seen = rate, clock()

    def spend(self, tokens: float) -> float:
        """Take tokens, also those that are not there yet; returns the seconds until they are."""
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._seen) * self._rate) - tokens
        self._seen = now
        return max(0.0, -self._tokens / self._rate)


class Pump:
    """A thread that carries a pipe's content into a log until the pipe ends, so that a busy event loop keeps no child waiting.

    Args:
        pipe: the end to read; the pump owns it from now on.
        log: where it goes; the pump closes it.
        clock: seconds, for the pace.
    """

    def __init__(self, pipe: int, log: CappedLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._pipe, self._log = pipe, log
        self._pace = Pace(_BYTES_A_SECOND, clock)
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hansa-child-log", daemon=True)
        self._thread.start()

    def finish(self, patience: float) -> None:
        """Wait for the end of the pipe, reading what is left in it without a pause.

        Args:
            patience: seconds. Where a process holds the pipe for longer, the thread goes on without being waited for.
        """
        self._hurry.set()
        self._thread.join(patience)

    def _run(self) -> None:
        with open(self._pipe, "rb", buffering=0) as pipe:
            while data := pipe.read(_CHUNK):
                self._log.write(data)
                wait = self._pace.spend(len(data))
                if wait and not self._hurry.is_set():
                    self._hurry.wait(wait)
        self._log.close()
