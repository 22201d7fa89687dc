"""The nursery: a worker that has loaded everything, and forks a child for each visit, so that all memory is returned after it.

This file must not know who is visited, or what becomes of the answers.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from hansa.core.gate import as_update
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ChildDied, NotConnected
from hansa.simulation.processes.ended import in_words, not_within
from hansa.simulation.processes.failures import Told, again, told
from hansa.simulation.processes.letters import Letter, Letters
from hansa.simulation.processes.post import Parcel, received
from hansa.simulation.station import Station

DIED = "its worker process"


@dataclass(frozen=True)
class Bound:
    """What one client may take of a GPU.

    Attributes:
        device: where works compute.
        fraction: the share of its memory; None for all.
    """

    device: str
    fraction: float | None

    def lay_down(self) -> None:
        """For this process, as long as it lives. JAX is told when it starts, by its environment."""
        torch: Any = sys.modules.get("torch")
        if self.fraction is not None and torch is not None and self.device.startswith("cuda"):
            torch.cuda.set_per_process_memory_fraction(self.fraction, torch.device(self.device))


def cannot_fork() -> str:
    """Why this process must not be forked: a GPU or threads are in use, and a child would have neither; empty where it may."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is in use"
    try:
        threads = len(os.listdir("/proc/self/task"))
    except OSError:
        return "this system does not say how many threads there are"
    return "loading the works has started threads" if threads > 1 else ""


class Nursery:
    """A station that forks.

    Args:
        station: carries works out in the children.
        letters: writes their answers.
        bound: what a child may take.
        timeout: seconds after which a child is ended; None for never.
        post: the socket of this process, which is none of a child's business.
    """

    chosen: Mapping[str, str] = {}

    def __init__(
        self, station: Station, letters: Letters, bound: Bound, timeout: float | None, post: socket.socket
    ) -> None:
        self._station, self._letters, self._bound, self._timeout, self._post = station, letters, bound, timeout, post

    def given(self, work: str, broadcast: Tree, contexts: Iterable[ClientContext]) -> Iterator[object]:
        """What clients' works return or raise, or `ChildDied`, in the contexts' order."""
        return (self._forked(work, broadcast, context) for context in contexts)

    def rest(self) -> None:
        """The children remember nothing."""

    def _forked(self, work: str, broadcast: Tree, context: ClientContext) -> object:
        ours, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with ours:
            child = os.fork()
            if child == 0:
                self._be_child(theirs, work, broadcast, context)
            theirs.close()
            return self._awaited(child, ours)

    def _be_child(self, theirs: socket.socket, work: str, broadcast: Tree, context: ClientContext) -> NoReturn:
        status = 1
        try:
            self._post.close()
            self._bound.lay_down()
            given = next(iter(self._station.given(work, broadcast, iter([context]))))
            sealed = Parcel.of(self._letters.written(_letter(given)))
            sealed.send(theirs)
            status = 0
        except BaseException as problem:  # noqa: BLE001 - whatever it is, the nursery tells it
            with contextlib.suppress(BaseException):
                Parcel.of(self._letters.written(Letter("failed", {"told": told(problem)}))).send(theirs)
                status = 0
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _awaited(self, child: int, ours: socket.socket) -> object:
        """A child's answer, and the child's end."""
        try:
            on_time = bool(select.select([ours], [], [], self._timeout)[0])
            memory = received(ours) if on_time else None
        except NotConnected:
            memory = None
        if memory is None and not on_time:
            os.kill(child, signal.SIGKILL)
        _, ended = os.waitpid(child, 0)
        if not on_time and self._timeout is not None:
            return ChildDied(not_within(self._timeout))
        if memory is None:
            return ChildDied(f"{DIED} {in_words(os.waitstatus_to_exitcode(ended))}")
        letter = self._letters.read(memory)
        if letter.kind == "failed":
            return again(Told(*letter.head["told"]))
        weight, leaves, metrics, state = letter.value
        return Update(leaves, weight, metrics, state)


def _letter(given: object) -> Letter:
    """What a work gave."""
    if isinstance(given, BaseException):
        return Letter("failed", {"told": told(given)})
    update = as_update(given)
    state = None if update.state is None else dict(update.state)
    return Letter("update", value=[update.weight, dict(update.tree), update.metrics, state])
