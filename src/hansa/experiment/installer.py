"""pip, run as a child process: what it says is passed on line by line, and it can be stopped.

This file must not know which environments there are.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.version import InvalidVersion, Version

from hansa.errors import ChildDied, InputError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_KEPT = 8
"""How many of the last lines an error quotes at most."""


def is_ready() -> bool:
    """Whether the pip of the running interpreter can install into another environment (since 22.3)."""
    try:
        return Version(metadata.version("pip")) >= Version("22.3")
    except (metadata.PackageNotFoundError, InvalidVersion):
        return False


def install(
    python: Path,
    requirements: Sequence[str],
    only_binary: bool,
    tell: Callable[[str], None],
    cancelled: threading.Event,
    *,
    ready: bool,
) -> None:
    """Install into the environment of an interpreter.

    Args:
        python: the interpreter.
        requirements: as PEP 508 strings that were checked.
        only_binary: wheels only.
        tell: is told what pip says.
        cancelled: stops it when set.
        ready: use the running interpreter's pip, not the environment's own.

    Raises:
        InputError: pip could not.
        ChildDied: it was cancelled, or killed.
    """
    # Isolated (-I) from this process's own path and environment; pip's configuration is the owner's, and stays.
    pip = [sys.executable, "-I", "-m", "pip", "--python", str(python)] if ready else [str(python), "-I", "-m", "pip"]
    options = ["--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off"]
    wheels = ["--only-binary=:all:"] if only_binary else []
    status, said = run([*pip, "install", *options, *wheels, "--", *requirements], tell, cancelled)
    if status < 0:
        raise ChildDied(f"pip was killed by signal {-status}", hint="is there enough memory?")
    if status:
        why = [line for line in said if line.startswith("ERROR")] or list(said)
        raise InputError(
            "the requirements cannot be installed:\n" + "\n".join(f"  {line}" for line in why),
            where=", ".join(requirements),
            hint="check the names and versions, and that this machine reaches its package index"
            + ("; wheels only are allowed" if only_binary else ""),
        )


def run(command: Sequence[str], tell: Callable[[str], None], cancelled: threading.Event) -> tuple[int, deque[str]]:
    """Run a command to its end, in a process group of its own. Returns its status and the last lines that it said.

    Raises:
        ChildDied: it was cancelled; the command and its children are gone then.
    """
    stop_if(cancelled)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    child = subprocess.Popen(  # noqa: S603 - a fixed command; the requirements were checked
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    said: deque[str] = deque(maxlen=_KEPT)
    ended = threading.Event()
    guard = threading.Thread(target=_kill_when, args=(child, cancelled, ended), daemon=True)
    guard.start()
    try:
        assert child.stdout is not None  # noqa: S101 - it is a pipe; for the type checker
        for line in child.stdout:
            said.append(_CONTROL.sub(" ", line).rstrip())
            tell(said[-1])
        status = child.wait()
    finally:
        ended.set()
        guard.join()
        if child.poll() is None:  # whoever is told has raised
            _kill(child)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    stop_if(cancelled)
    return status, said


def stop_if(cancelled: threading.Event) -> None:
    """Raise `ChildDied` where it was cancelled."""
    if cancelled.is_set():
        raise ChildDied("the making of the environment was cancelled")


def _kill_when(child: subprocess.Popen[str], cancelled: threading.Event, ended: threading.Event) -> None:
    """Kill a child once it is cancelled. Nobody can wait for two events at once, so it looks every tenth of a second."""
    while not ended.is_set():
        if cancelled.wait(0.1) and not ended.is_set():
            _kill(child)
            return


def _kill(child: subprocess.Popen[str]) -> None:
    if not hasattr(os, "killpg"):  # Windows
        child.kill()
        return
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill()
