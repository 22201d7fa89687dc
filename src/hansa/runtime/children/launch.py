"""How a child's first process is started, handed its end of a socket, waited for and ended; the one place where systems differ.

On Linux the socket is handed down, and a warden, the first process, ends all that the child began. Elsewhere (macOS, Windows)
there is no warden: the child dials its parent on the loopback address with a secret word that its standard input tells it, and
ends when that closes. What it began is ended with its process group, or its tree, as far as the system knows it then.

This file must not know what the child does, nor what is said over the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hansa.errors import ConfigError, StoreError
from hansa.experiment.reference import thread_variables
from hansa.runtime.children import limits as limits_
from hansa.runtime.children.limits import Limits
from hansa.runtime.children.log import CappedLog, Pump

WARDEN = sys.platform == "linux"
"""Whether there is one."""

_BEGIN = "import sys; sys.path.insert(0, sys.argv[1]); from hansa_child.main import main; main(sys.argv[2])"
_LOOK = 0.1
"""Seconds between two looks whether a child that was to dial has ended instead."""


@dataclass(frozen=True)
class Launched:
    """A process that was started.

    Attributes:
        process: itself.
        pump: carries what it prints into its log.
        end: this side's end of the socket; None where the child dials.
        listening: where it dials.
        word: that it says then.
    """

    process: subprocess.Popen[bytes]
    pump: Pump
    end: socket.socket | None = None
    listening: socket.socket | None = None
    word: bytes = b""

    async def met(self) -> socket.socket:
        """This side's end of the socket; of a child that has ended instead of dialling, one without another end.

        A call that is cancelled ends the child.
        """
        if self.end is not None:
            return self.end
        try:
            end = await asyncio.to_thread(self._dialled)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                end_all(self.process.pid)
            self.process.wait()
            if self.process.stdin is not None:
                self.process.stdin.close()
            raise
        if end is None:
            end, other = socket.socketpair()
            other.close()
        return end

    def _dialled(self) -> socket.socket | None:
        """None where the child has ended instead."""
        assert self.listening is not None  # noqa: S101 - there is no end; for the type checker
        with self.listening as listening:
            listening.settimeout(_LOOK)
            while self.process.poll() is None:
                with contextlib.suppress(OSError):
                    end, _ = listening.accept()
                    end.settimeout(limits_.PATIENCE)
                    if hmac.compare_digest(_exactly(end, len(self.word)), self.word):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        return end
                    end.close()  # another process of this machine
        return None


def launch(
    python: Path, settings: Mapping[str, Any], limits: Limits, env: Mapping[str, str], log: Path, log_bytes: int
) -> Launched:
    """Start a child's first process.

    Args:
        python: its interpreter.
        settings: what `hansa_child.main.main` is told, but for who its parent is, and the socket.
        limits: which it will lay upon itself.
        env: variables besides those that every child has.
        log: the file for what it prints.
        log_bytes: the most that the log and its predecessor take.

    Raises:
        ConfigError: the interpreter cannot be started.
        StoreError: the log cannot be written.
    """
    told = {**settings, "parent": os.getpid()}
    folder = Path(settings["folders"][0])
    if WARDEN:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            command = _command(python, {**told, "channel": theirs.fileno()})
            try:
                process, pump = _started(command, folder, limits, env, log, log_bytes, [theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        return Launched(process, pump, ours)
    listening, word = socket.create_server(("127.0.0.1", 0)), secrets.token_hex(32).encode()
    try:
        process, pump = _started(_command(python, {**told, "channel": None}), folder, limits, env, log, log_bytes)
    except BaseException:
        listening.close()
        raise
    assert process.stdin is not None  # noqa: S101 - it was asked for; for the type checker
    with contextlib.suppress(OSError):  # it has ended already, which is found out soon
        process.stdin.write(b"%d %s\n" % (listening.getsockname()[1], word))
    return Launched(process, pump, None, listening, word)


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has ended; where the system allows, its number stays its own until somebody takes its status."""
    if hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()


def ask(pid: int) -> None:
    """Have a child and all that it began end: in order, where there is a warden. Raises OSError where there is none such."""
    if WARDEN:
        os.kill(pid, signal.SIGTERM)
    else:
        end_all(pid)


def end_all(pid: int) -> None:
    """End a process and its group at once. Raises OSError where there is none such."""
    if hasattr(os, "killpg"):
        os.killpg(pid, signal.SIGKILL)
    else:  # Windows, which knows no groups, but who began whom
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, check=False)  # noqa: S603, S607


def _command(python: Path, told: Mapping[str, Any]) -> list[str]:
    return [os.fspath(python), *limits_.FLAGS, "-c", _BEGIN, str(limits_.FOLDER), json.dumps(told)]


def _started(
    command: list[str],
    folder: Path,
    limits: Limits,
    env: Mapping[str, str],
    log: Path,
    log_bytes: int,
    handed: Collection[int] = (),
) -> tuple[subprocess.Popen[bytes], Pump]:
    own = {"HOME": str(folder), "TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    if os.name == "nt":
        own |= {"USERPROFILE": str(folder), "TEMP": str(folder / "tmp"), "TMP": str(folder / "tmp")}
    try:
        file = CappedLog(log, log_bytes)
    except OSError as error:
        raise StoreError(f"cannot write a child's log: {error.strerror}", where=str(log)) from error
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - the interpreter that the owner chose, and our own code
            command,
            bufsize=0,  # what the child is told goes at once, and nothing is left for the end
            stdin=subprocess.DEVNULL if handed else subprocess.PIPE,
            stdout=writing,
            stderr=writing,
            cwd=folder,
            env={**limits_.environment(), **thread_variables(limits.cpu or 1), **own, **env},
            close_fds=True,
            pass_fds=tuple(handed),
            start_new_session=True,
            creationflags=_flags(limits),
        )
    except (OSError, ValueError) as error:
        os.close(reading)
        file.close()
        raise ConfigError(f"a child process cannot be started: {error}", where=command[0]) from error
    finally:
        os.close(writing)
    return process, Pump(reading, file)


def _flags(limits: Limits) -> int:
    """What Windows is told in place of a session of its own, and of `nice`."""
    if sys.platform != "win32":
        return 0
    group = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return group | (subprocess.BELOW_NORMAL_PRIORITY_CLASS if limits.nice else 0)


def _exactly(end: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer where the other side closes first."""
    came = b""
    while len(came) < count and (part := end.recv(count - len(came))):
        came += part
    return came
