"""The commands as people meet them: whole processes of the installed console script, in an environment of their own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "hansa"

INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from hansa.cli import main; main()"
)
"""The console script for Ctrl-C: a process that is started in the background may inherit deaf ears from whoever started it."""

LEFT_OUT = ("HANSA_DATA", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM")
"""Variables of the developer's terminal that would change what a command does or prints."""

PATIENCE = 120.0
"""Seconds after which a process is taken to hang; it only ends tests that would never end."""

SHARED = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Ended:
    """What a process left: its exit status, its standard output and its standard error; a terminal shows both as one."""

    code: int
    out: str
    err: str = ""


@dataclass(frozen=True)
class Shell:
    """Runs `hansa` in processes that know nothing of the developer's caches, data sets and colours."""

    home: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """This process's variables, less those that would leak into the test, and `variables`."""
        kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        return {**kept, "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache"), **variables}

    def hansa(self, *arguments: str | Path, cwd: Path | None = None, **variables: str) -> Ended:
        """To the end, with pipes for output."""
        process = subprocess.run(
            [COMMAND, *arguments],
            cwd=cwd or self.home,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        return Ended(process.returncode, process.stdout, process.stderr)

    def interrupted(self, *arguments: str | Path, once: str, **variables: str) -> Ended:
        """Ended by SIGINT, as Ctrl-C sends it, once a line of output says `once`."""
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, *arguments],
            cwd=self.home,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        with process, _not_for_ever(process):
            assert process.stdout is not None
            before = []
            for line in process.stdout:
                before.append(line)
                if once in line:
                    process.send_signal(signal.SIGINT)
                    break
            out, err = process.communicate()
        return Ended(process.returncode, "".join(before) + out, err)

    def in_terminal(
        self, *arguments: str | Path, interrupt: str = "", document: bool = False, **variables: str
    ) -> Ended:
        """In a pseudo-terminal of 100 columns.

        Args:
            arguments: of the command.
            interrupt: press Ctrl-C once the screen says this.
            document: send standard output to a pipe, as `hansa ... > FILE` does; the screen is standard error then.
            variables: of its environment.
        """
        screen, terminal = pty.openpty()
        command = [sys.executable, "-c", INTERRUPTIBLE, *arguments]
        process = subprocess.Popen(
            command,
            cwd=self.home,
            env=self.environment(TERM="xterm-256color", COLUMNS="100", LINES="40", **variables),
            stdin=terminal,
            stdout=subprocess.PIPE if document else terminal,
            stderr=terminal,
        )
        os.close(terminal)
        with process, _not_for_ever(process):
            shown = b""
            for block in _blocks(screen):
                shown += block
                if interrupt and interrupt.encode() in shown:
                    process.send_signal(signal.SIGINT)
                    interrupt = ""
            os.close(screen)
            out = process.stdout.read().decode() if process.stdout is not None else ""
            code = process.wait()
        return Ended(code, out, shown.decode()) if document else Ended(code, shown.decode())


def _blocks(screen: int) -> Iterator[bytes]:
    """What appears on the screen until the process has let go of its terminal."""
    while True:
        try:
            block = os.read(screen, 2**16)
        except OSError:  # how Linux says that there is nobody at the other end
            return
        if not block:  # how others say it
            return
        yield block


@contextmanager
def _not_for_ever(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    try:
        yield
    finally:
        guard.cancel()


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A place to run commands from."""
    return Shell(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; skips where there is none."""
    folder = Path(os.environ.get("HANSA_DATA") or SHARED).resolve()
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no real data sets: {folder} has no folder 'mnist'; set HANSA_DATA to one that has")
    return folder
