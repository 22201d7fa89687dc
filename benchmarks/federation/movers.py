"""Processes that do something when they are told to, all at once, and say when they are done.

Over their standard input and output: a word, and then "done" or nothing any more.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, Self


async def obeying(words: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    """A mover's own part: do what each line of the input says, until there are no more."""
    print("ready", flush=True)
    while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
        await words[word]()
        print("done", flush=True)


class Movers:
    """The parent's part. Use it in a `with` block.

    Args:
        commands: a module and its arguments, a process each.

    Raises:
        RuntimeError: by every method: a process ended.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._pipes = [_started(command) for command in commands]

    def heard(self) -> list[str]:
        """The next line of each."""
        lines = [answers.readline().strip() for _, _, answers in self._pipes]
        if not all(lines):
            raise RuntimeError("a process ended; its own message is above")
        return lines

    def timed(self, word: str) -> float:
        """Seconds until all have done something that they begin at once."""
        began = time.perf_counter()
        for _, words, _ in self._pipes:
            words.write(f"{word}\n")
        self.heard()
        return time.perf_counter() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, words, _ in self._pipes:
            words.close()
        for process, _, answers in self._pipes:
            process.wait()
            answers.close()


def _started(command: Sequence[str]) -> tuple[subprocess.Popen[str], IO[str], IO[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-m", *command], stdin=pipe, stdout=pipe, text=True, bufsize=1)
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process without pipes")
    return process, process.stdin, process.stdout
