"""What is under way at a server, so that it can be ended from outside: a peer expelled, a server stopped, a cable cut.

Both adapters run every call through `Live.run`, so that errors, ends and admission are alike. This file must not know how
frames are carried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from hansa.errors import CertificateError, HansaError, NotConnected
from hansa.protocol.peer import Peer
from hansa.transport.faults import internal

_T = TypeVar("_T")

_LOG = logging.getLogger("hansa.transport")

SETTLE = 1.0
"""Seconds that whoever was told to end is given for it."""


@dataclass(eq=False, slots=True)
class _Entry:
    peer: Peer
    enduring: bool
    task: asyncio.Task[object]
    ended: HansaError | None = None


class Live:
    """The calls under way at one server; used from one event loop."""

    def __init__(self) -> None:
        self._entries: set[_Entry] = set()
        self._refusal: HansaError | None = None
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    async def run(
        self, admit: Callable[[], Peer], work: Callable[[Peer], Awaitable[_T]], *, enduring: bool = False
    ) -> _T:
        """Do the work of one call, in the current task.

        Args:
            admit: says who calls, or raises.
            work: is given that peer.
            enduring: it is not expected to end by itself, so that a stop does not wait for it.

        Raises:
            HansaError: of the work; of `admit`; or the reason why it was ended. Any other exception is logged and becomes
                a `FederationError`.
            asyncio.CancelledError: the current task was cancelled, by nobody here: the caller went away.
        """
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"  # noqa: S101 - asyncio's own promise
        entry: _Entry | None = None
        try:
            if self._refusal is not None:
                raise self._refusal
            entry = _Entry(admit(), enduring, task)
            self._entries.add(entry)
            return await work(entry.peer)
        except asyncio.CancelledError:
            if entry is not None and entry.ended is not None:
                task.uncancel()
                raise entry.ended from None
            if task.cancelling():
                raise
            _LOG.exception(
                "a call of %s was cancelled by its own service", "nobody" if entry is None else entry.peer.name
            )
            raise internal() from None
        except HansaError:
            raise
        except Exception:  # noqa: BLE001 - a service may raise anything, and none of it goes out
            _LOG.exception("a call of %s failed", "an unknown caller" if entry is None else entry.peer.name)
            raise internal() from None
        finally:
            if entry is not None:
                self._entries.discard(entry)
                if not self._entries:
                    self._empty.set()

    def end(self, why: HansaError, whose: Callable[[Peer], bool] = lambda _: True, *, enduring: bool = False) -> int:
        """End what is under way, with an error that its caller sees.

        Args:
            why: the error.
            whose: the peers whose calls are ended.
            enduring: leave those alone that will end by themselves.

        Returns:
            How many were ended.
        """
        ended = [
            entry
            for entry in self._entries
            if entry.ended is None and whose(entry.peer) and (entry.enduring or not enduring)
        ]
        for entry in ended:
            entry.ended = why
            entry.task.cancel()
        return len(ended)

    def expel(self, serials: Collection[str]) -> int:
        """End what is under way of peers with these certificates; who has none is not meant."""
        why = CertificateError(
            "this certificate was revoked", hint="ask the administrator of the federation for a new invitation"
        )
        return self.end(why, lambda peer: bool(peer.serial) and peer.serial in serials)

    async def stop(self, grace: float) -> None:
        """Refuse what is new, end what endures at once, and everything else after `grace` seconds."""
        why = NotConnected("the server is stopping", hint="try again in a while")
        self._refusal = why
        self.end(why, enduring=True)
        if not await self._emptied(grace):
            self.end(why)
            await self._emptied(SETTLE)

    async def _emptied(self, patience: float) -> bool:
        self._empty.clear()
        if self._entries:
            try:
                async with asyncio.timeout(patience):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return True
