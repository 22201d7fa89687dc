"""Child processes seen from their parent: started, spoken with, and ended.

A child is a process that runs one function of a scientist's. It has a socket to its parent and nothing else of its parent's: no
descriptors, no environment, no keys. Nothing that it does, crashing, flooding or never ending, takes the parent along. This
file must not know what the function does, nor what the messages say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from hansa.errors import ChildDied, ConfigError, NotConnected, ProtocolError, StoreError
from hansa.runtime.children import launch, trace
from hansa.runtime.children.channel import ParentChannel
from hansa.runtime.children.ended import Ended
from hansa.runtime.children.hansa_child.main import RESERVED
from hansa.runtime.children.limits import PATIENCE, Held, Limits
from hansa.runtime.children.log import Pump

LOG_BYTES = 8 * 2**20
"""Of a child's log and its predecessor, unless said otherwise."""
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_END_PATIENCE = 3.0
"""Seconds that a child's warden has to end everything, before its process group is killed with it."""
_LOG_PATIENCE = 2.0


class Child:
    """One child process; to be made by `start`, used in one event loop, and ended: `async with` does that.

    On Linux a child also ends when the thread that started it does, because the kernel counts that as its parent.

    Attributes:
        pid: of its first process, which leads its process group.
        held: which limits hold, as the child reported before any foreign line ran.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], channel: ParentChannel, pump: Pump, limits: Limits, widen: bool
    ):
        self.pid, self.held = process.pid, Held()
        self._process, self._channel, self._pump, self._limits, self._widen = process, channel, pump, limits, widen
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._settling, self._reaping = asyncio.Lock(), threading.Lock()
        self._left: deque[dict[str, Any]] = deque()
        self._raised: dict[str, Any] | None = None
        self._why = ""
        self._ended: Ended | None = None
        self._timers: list[asyncio.TimerHandle] = []
        threading.Thread(target=self._watch, name=f"hansa-child-{self.pid}", daemon=True).start()
        if limits.seconds is not None:
            why = f"exceeded its time limit of {limits.seconds:g} s"
            self._timers.append(self._loop.call_later(limits.seconds, self._end, why))

    @classmethod
    async def start(
        cls,
        target: str,
        *,
        limits: Limits,
        folder: Path,
        log: Path,
        python: Path = Path(sys.executable),
        path: Sequence[Path] = (),
        env: Mapping[str, str] = MappingProxyType({}),
        must: Collection[str] = (),
        log_bytes: int = LOG_BYTES,
        widen: bool = False,
    ) -> Self:
        """Start a child; returns once its limits stand, before it imports its target.

        Args:
            target: "module:function"; the function is called with the child's `Channel`, and the child ends when it returns.
            limits: what it may take; what the system refused is in `held`.
            folder: its working directory, home and scratch (`folder/tmp` for temporary files); made, for its user alone.
            log: the file for its standard output and error; the folder must exist.
            python: its interpreter. The package hansa is this one; all others are the interpreter's own.
            path: entries for the front of its sys.path, such as the folder of an experiment.
            env: variables, in addition to PATH, LANG, LC_ALL and TZ, and to HOME and TMPDIR, which are in `folder`.
            must: names of limits, as in `Held`, without which no foreign line may run.
            log_bytes: the most that the log and its predecessor (`.1`) take.
            widen: whether the message of an exception may leave the child; see `trace`.

        Raises:
            ConfigError: the target, the interpreter or the user cannot be, or a limit that must hold does not.
            StoreError: the folder or the log cannot be made.
            ChildDied: it ended before its limits stood.
            ProtocolError: it began with something else than what is held.
        """
        if not _TARGET.fullmatch(target):
            raise ConfigError(f"{target!r} names no function", hint="write it as module:function")
        folder = folder.absolute()
        _prepare(folder, limits.user)
        settings = {
            "limits": asdict(limits),
            "must": list(must),
            "hansa": str(Path(__file__).parents[3]),
            "folders": [str(each.absolute()) for each in (folder, *path)],
            "path": [str(each.absolute()) for each in path],
            "target": target,
            "widen": widen,
        }
        launched = launch.launch(python, settings, limits, env, log, log_bytes)
        end = await launched.met()
        child = cls(launched.process, ParentChannel(end), launched.pump, limits, widen)
        try:
            await child._hear_what_is_held(log, must)
        except BaseException:
            await child.kill()
            raise
        return child

    async def send(self, message: dict[str, Any]) -> None:
        """Hand a message to the child; waits while it is not reading.

        Raises:
            ProtocolError: it cannot be a message; see `ParentChannel.send`.
            ChildDied: it has ended, or closed its channel.
        """
        try:
            await self._channel.send(message)
        except NotConnected as error:
            text = "has closed its channel" if self._ended is None else self._ended.text
            raise ChildDied(f"the child process cannot be reached: it {text}", hint="its log says more") from error

    async def receive(self) -> dict[str, Any] | None:
        """The child's next message, or None when it has ended (`ended` says how) or closed its channel. May be cancelled.

        Raises:
            ProtocolError: it sent what is no message. It is ended, since nothing more of it can be understood.
        """
        while True:
            if self._left:
                return self._left.popleft()
            if self._ended is not None:
                return None
            try:
                message = await self._channel.receive()
            except ProtocolError as error:
                if self._channel.torn and await self._was_cut_off():
                    return None
                self._end(f"broke the rules of its channel and was ended ({error.what})")
                raise
            if message is None or not self._notes(message):
                return message

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """Every message, until the child ends or closes its channel.

        Raises:
            ProtocolError: see `receive`.
        """
        while (message := await self.receive()) is not None:
            yield message

    async def kill(self, why: str = "") -> Ended:
        """End the child and all its descendants, and wait until they are reaped. Harmless where it has ended.

        Args:
            why: for `Ended.text`, following the word "it": "took longer than its round".
        """
        self._end(why or "was ended by its parent")
        return await self.ended()

    async def ended(self) -> Ended:
        """Wait until the child has ended by itself or otherwise, and say how. May be cancelled.

        A child that sends more than anybody receives waits for that, and does not end. What it sent before it ended can still
        be received afterwards.
        """
        await asyncio.shield(self._gone)
        async with self._settling:
            if self._ended is None:
                await self._settle()
        assert self._ended is not None  # noqa: S101 - for the type checker
        return self._ended

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def _was_cut_off(self) -> bool:
        """Whether a message is torn because the child was killed while it spoke, which `ended` then tells."""
        try:
            async with asyncio.timeout(_END_PATIENCE):
                return (await self.ended()).signal is not None
        except TimeoutError:
            return False

    async def _hear_what_is_held(self, log: Path, must: Collection[str]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                first = await self._channel.receive()
        except TimeoutError:
            first = None
            await self.kill(f"did not begin within {PATIENCE:g} s")
        if first is None:
            ended = await self.ended()
            raise ChildDied(f"a child process did not start: it {ended.text}", hint=f"its log says more: {log}")
        if first.get(RESERVED) != "ready":
            raise ProtocolError("a child process began with something else than what is held")
        self.held = Held.of(first.get("held"), first.get("refused"))
        for name in must:
            if name not in self.held.held:
                raise ConfigError(
                    f"a limit that must hold does not: {name}, {self.held.refused.get(name, 'which was not asked for')}",
                    hint="`hansa doctor` says what this system holds; mend that, or no longer insist on it",
                )

    def _notes(self, message: dict[str, Any]) -> bool:
        """Whether a message is one of the child's own, and not the function's.

        Raises:
            ProtocolError: it is what neither may send.
        """
        if RESERVED not in message:
            return False
        try:
            if message[RESERVED] != "raised":
                raise ProtocolError(f"a child process sent a message with the reserved key {RESERVED!r}")
            self._raised = trace.checked(message.get("error"), widen=self._widen)
        except ProtocolError as error:
            self._end(f"broke the rules of its channel and was ended ({error.what})")
            raise
        return True

    async def _settle(self) -> None:
        """After the last process: what is left in the channel, then the verdict."""
        for timer in self._timers:
            timer.cancel()
        with contextlib.suppress(ProtocolError):  # it was cut off while it spoke; how it ended says why
            while (message := await self._channel.receive()) is not None:
                if not self._notes(message):
                    self._left.append(message)
        self._channel.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._ended = Ended.of(self._process.wait(), self._limits, self._raised, self._why)

    def _watch(self) -> None:
        """In a thread: wait for the first process, then end what may be left of its group while its number is still its own."""
        launch.ended(self._process)
        self._signal(launch.end_all)
        with self._reaping:
            self._process.wait()
        self._pump.finish(_LOG_PATIENCE)
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is waiting
            self._loop.call_soon_threadsafe(self._reaped)

    def _reaped(self) -> None:
        self._channel.hang_up()
        if not self._gone.done():
            self._gone.set_result(None)

    def _end(self, why: str) -> None:
        """Have the warden end everything; kill it with its group if it cannot."""
        if self._process.returncode is None and not self._why:
            self._why = why
            self._signal(launch.ask)
            self._timers.append(self._loop.call_later(_END_PATIENCE, self._signal, launch.end_all))

    def _signal(self, send: Callable[[int], None]) -> None:
        """To the child or its group, unless it has been reaped, when its number may be another process's."""
        with self._reaping:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(self.pid)


def _prepare(folder: Path, user: str | None) -> None:
    """The scratch folder and its tmp, for the child's user alone."""
    owner = None
    if user is not None:
        if find_spec("pwd") is None:
            raise ConfigError("this system runs no child as another user", hint="leave the user out")
        import pwd

        try:
            owner = pwd.getpwnam(user)
        except KeyError:
            raise ConfigError(f"there is no user {user!r} here", hint="make it, or leave the user out") from None
    try:
        for each in (folder, folder / "tmp"):
            each.mkdir(mode=0o700, parents=each == folder, exist_ok=True)
            if owner is not None and os.geteuid() == 0:
                os.chown(each, owner.pw_uid, owner.pw_gid)
            each.chmod(0o700)
    except OSError as error:
        raise StoreError(f"cannot make a child's folder: {error.strerror}", where=str(folder)) from error
