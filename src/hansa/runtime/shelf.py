"""The blobs that a Director or an Envoy keeps: those that its state machine needs, and for a while those that it is about to.

A blob that has just arrived is not needed by anybody before the message that names it was handled; so it is held until then.
This file must not know what the blobs are.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hansa.errors import Damaged, DiskFull, NotConnected, StoreError
from hansa.protocol.messages import Blob
from hansa.runtime.files import in_groups
from hansa.store import port
from hansa.store.port import Blobs, Receiver

PATIENCE = 2.0
"""Seconds between two attempts to write to a full disk."""

WHILE = 3600.0
"""Seconds that a blob stays although nobody needs it yet: long enough for the message that names it."""

ANYBODY = ""
"""Whose the beginning of a blob is that whoever sends it first goes on with."""

_log = logging.getLogger("hansa.shelf")


class Shelf:
    """Blobs, and who needs them.

    Args:
        blobs: where they are kept.
        needed: the names of those that must stay.
        clock: seconds, from any origin.

    Attributes:
        full: why nothing more can be taken at present; empty where it can.
    """

    def __init__(self, blobs: Blobs, needed: Callable[[], Collection[str]], clock: Callable[[], float]) -> None:
        self._blobs, self._needed, self._clock = blobs, needed, clock
        self._held: Counter[str] = Counter()
        self._until: dict[tuple[str, str], float] = {}
        self._receiving: dict[tuple[str, str], Receiver] = {}
        self._deleting = asyncio.Lock()  # who finds a blob here, and who drops it, must not do so at once
        self.full = ""

    def path(self, sha: str) -> Path | None:
        """The file of a complete blob."""
        found = self._blobs.held(sha)
        return found.path if isinstance(found, port.Blob) else None

    def has(self, blob: Blob, whose: str) -> bool:
        """Whether a blob is here, whole, and somebody has shown that it is theirs: that they know more of it than its name."""
        return self._is(blob, whose) and self.path(blob.sha256) is not None

    def received(self, blob: Blob, whose: str) -> int:
        """How many bytes of it somebody need not send again. What others have sent does not count."""
        found = self._blobs.held(blob.sha256)
        return found.size if found is not None and self._is(blob, whose) else 0

    def _is(self, blob: Blob, whose: str) -> bool:
        return (blob.sha256, whose) in self._until or (blob.sha256, ANYBODY) in self._until

    def keep(self, sha: str, whose: str) -> None:
        """Let it stay for a while, for somebody's sake. Who asks whether it is here, too, calls `kept`."""
        self._until[sha, whose] = self._clock() + WHILE

    async def kept(self, sha: str, whose: str) -> Path | None:
        """Let it stay for a while, and where it is here, its file."""
        async with self._deleting:
            self.keep(sha, whose)
            return self.path(sha)

    @contextmanager
    def holding(self, shas: Iterable[str]) -> Iterator[None]:
        """Let these stay as long as the context lasts."""
        held = list(shas)
        self._held.update(held)
        try:
            yield
        finally:
            self._held.subtract(held)
            self._held += Counter()

    async def put(self, content: Path | bytes, whose: str) -> Blob:
        """Take a file that a child has written, or bytes. It stays for a while, for somebody's sake."""
        while True:
            try:
                async with self._deleting:
                    taken = await asyncio.to_thread(self._blobs.put, content)
                    self.keep(taken.sha, whose)
            except DiskFull as problem:
                await self._wait(problem)
            else:
                self.full = ""
                return Blob(taken.sha, taken.size)

    async def receive(self, blob: Blob, offset: int, chunks: AsyncIterator[bytes], whose: str) -> int:
        """Take a blob's bytes from an offset on, as they come, and return how many of it are here then.

        It stays for a while, for somebody's sake. Who sends what is here already, whole, is held to the same content. Who
        sends the same thing anew has lost the connection of the first time, whether that is known here or not: what came over
        it counts, and it ends.

        Raises:
            NotConnected: the same is being sent anew; or bytes are missing before the offset.
            DiskFull: there is no room; what came stays, to be resumed.
            Damaged: the content is not what its name says.
        """
        if adopted := self._until.pop((blob.sha256, ANYBODY), None) is not None:
            self.keep(blob.sha256, whose)
        with self.holding([blob.sha256]):
            if await self._is_anothers(blob, whose):
                await _prove(blob, chunks)
                self.keep(blob.sha256, whose)
                return blob.size
        try:
            here = await self._received(blob, offset, chunks, (blob.sha256, whose))
        except DiskFull as problem:
            self.full = problem.line
            raise
        except Damaged as problem:
            if not adopted:
                raise
            what = f"the beginning of {blob.sha256} that was here was another's, and wrong"
            raise NotConnected(what, hint="send it anew") from problem
        self.full = ""
        return here

    async def _is_anothers(self, blob: Blob, whose: str) -> bool:
        """Whether it is here, whole, and only others have shown that it is theirs; otherwise it is this one's from now on."""
        async with self._deleting:
            if not self._is(blob, whose):
                if self.path(blob.sha256) is not None:
                    return True
                await asyncio.to_thread(self._blobs.delete, [blob.sha256])  # another's beginning: it may be wrong
            self.keep(blob.sha256, whose)
            return False

    async def _received(self, blob: Blob, offset: int, chunks: AsyncIterator[bytes], which: tuple[str, str]) -> int:
        if (older := self._receiving.pop(which, None)) is not None:
            await asyncio.to_thread(older.close)
        receiver = self._receiving[which] = await self._opened(blob)
        try:
            known = receiver.offset - offset
            if known < 0:
                what = f"bytes from {offset} on were sent, and {receiver.offset} can be built upon"
                raise NotConnected(what, hint="ask again how many are here")  # another transfer holds the others
            async for group in in_groups(chunks):
                known = await asyncio.to_thread(_write, receiver, group, known)
            if receiver.offset == blob.size:
                await asyncio.to_thread(receiver.finish)
        except StoreError as problem:
            if self._receiving.get(which) is receiver or isinstance(problem, DiskFull | Damaged):
                raise
            raise NotConnected("the same is being sent anew, over another connection") from problem
        else:
            return receiver.offset
        finally:
            await self._put_away(receiver, which)

    async def _put_away(self, receiver: Receiver, which: tuple[str, str]) -> None:
        """Close it. Until that is done it is known here, even if its caller is cancelled: who sends anew waits for it."""

        def closed(done: asyncio.Future[None]) -> None:
            if self._receiving.get(which) is receiver:
                del self._receiving[which]
            if not done.cancelled() and (problem := done.exception()) is not None:
                _log.warning("a transfer could not be put away: %s", problem)

        closing = asyncio.ensure_future(asyncio.to_thread(receiver.close))
        closing.add_done_callback(closed)
        await asyncio.shield(closing)

    async def _opened(self, blob: Blob) -> Receiver:
        """A receiver. Where its caller is cancelled meanwhile, nobody holds on to what is here."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._blobs.receive, blob.sha256, blob.size))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(
                lambda done: None if done.cancelled() or done.exception() else done.result().close()
            )
            raise

    async def discard(self, shas: Iterable[str]) -> None:
        """Drop those of these that nobody needs."""
        async with self._deleting:
            staying = {*self._needed(), *self._held, *(sha for sha, _ in self._until)}
            gone = [sha for sha in shas if sha not in staying]
            if gone:
                await asyncio.to_thread(self._blobs.delete, gone)

    async def release(self, sha: str, whose: str) -> None:
        """A blob that was kept for somebody's sake was used, or will not be: it stays only if others need it."""
        self._until.pop((sha, whose), None)
        await self.discard([sha])

    async def resume(self) -> None:
        """After a start: drop what nobody needs, but for the beginnings of blobs.

        Nobody knows any more whose those are: who sends the same thing first goes on with one, and where it was another's, and
        wrong, sends it anew.
        """
        for blob in await asyncio.to_thread(lambda: list(self._blobs.all())):
            if isinstance(blob, port.Partial):
                self.keep(blob.sha, ANYBODY)
        await self.tidy()

    async def tidy(self) -> None:
        """Drop everything that nobody needs: what a sender that never came back has left."""
        now = self._clock()
        self._until = {kept: until for kept, until in self._until.items() if until > now}
        here = await asyncio.to_thread(lambda: [blob.sha for blob in self._blobs.all()])
        await self.discard(here)

    async def _wait(self, problem: DiskFull) -> None:
        if not self.full:
            _log.error("nothing can be stored, everything waits: %s", problem.line)
        self.full = problem.line
        await asyncio.sleep(PATIENCE)


def _write(receiver: Receiver, chunks: Iterable[bytes], known: int) -> int:
    """Write chunks, but for so many bytes at their beginning that are here already; how many of those are still to come."""
    for chunk in chunks:
        if known < len(chunk):
            receiver.write(memoryview(chunk)[known:])
        known = max(0, known - len(chunk))
    return known


async def _prove(blob: Blob, chunks: AsyncIterator[bytes]) -> None:
    """Raise `Damaged` unless these bytes are the blob's."""
    digest = hashlib.sha256()
    async for group in in_groups(chunks):
        for chunk in group:
            await asyncio.to_thread(digest.update, chunk)
    if digest.hexdigest() != blob.sha256:
        raise Damaged(
            f"what was sent is not the file {blob.sha256}", hint="send the file's own bytes, from its beginning"
        )
