"""Blobs between an Envoy and its Director: fetched once, resumed after a cut, and tried again until they are there.

No faster than the owner allows, all of them together.

Whoever asks for one waits until it is there or will never be; cuts are not theirs to see.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from hansa.errors import DiskFull, NotConnected, StoreError
from hansa.protocol import wire
from hansa.protocol.messages import Blob, Download, Lacking, Result, Upload
from hansa.runtime.envoy.bandwidth import Bucket
from hansa.runtime.files import chunks_of
from hansa.runtime.shelf import Shelf
from hansa.transport.port import Connection

PATIENCE = 2.0
"""Seconds between two attempts, while the disk of either side is full."""

PAUSE = 0.1
"""Seconds from a cut to the next attempt; a connection that is known to be gone is waited for besides."""

_log = logging.getLogger("hansa.envoy.transfers")

T = TypeVar("T")


class Transfers:
    """Moves blobs over whichever connection stands.

    Args:
        shelf: where they lie.
        up: what is sent passes through it; without a limit unless given.
        down: what is fetched does.
    """

    def __init__(self, shelf: Shelf, up: Bucket | None = None, down: Bucket | None = None) -> None:
        self._shelf, self._up, self._down = shelf, up or Bucket(), down or Bucket()
        self._connection: Connection | None = None
        self._there = asyncio.Event()
        self._fetching: dict[str, asyncio.Task[Path]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def connected(self, connection: Connection | None) -> None:
        """There is another connection, or none."""
        self._connection = connection
        if connection is None:
            self._there.clear()
        else:
            self._there.set()

    async def fetched(self, run: str, blob: Blob) -> Path:
        """The file of a blob, fetched if it is not here. Those who want the same one wait for the same transfer."""
        if (path := await self._shelf.kept(blob.sha256, run)) is not None:
            return path
        task = self._fetching.get(blob.sha256)
        if task is None:
            task = self._fetching[blob.sha256] = asyncio.create_task(
                self._until_it_works(lambda connection: self._fetch(connection, run, blob))
            )
            task.add_done_callback(lambda _: self._fetching.pop(blob.sha256, None))
        return await asyncio.shield(task)

    async def deliver(self, told: Result) -> None:
        """Send an update, unless the Director has it. Equal updates of several clients are sent once."""
        sha = "" if told.update is None else told.update.sha256
        turn = self._turns.setdefault(sha, asyncio.Lock())
        try:
            async with turn:
                await self._until_it_works(lambda connection: self._deliver(connection, told))
        finally:
            if told.update is not None:
                await self._shelf.discard([told.update.sha256])

    async def _fetch(self, connection: Connection, run: str, blob: Blob) -> Path:
        offset = self._shelf.received(blob, run)
        head = wire.encode(Download(blob.sha256, run, offset))
        await self._shelf.receive(blob, offset, self._down.paced(connection.download(head)), run)
        path = self._shelf.path(blob.sha256)
        if path is None:
            raise NotConnected("the transfer ended before its end")
        return path

    async def _deliver(self, connection: Connection, told: Result) -> None:
        blob = told.update
        path = None if blob is None else self._shelf.path(blob.sha256)
        if blob is None or path is None:
            raise StoreError(f"the update of {told.client!r} is gone from the store", where=told.run)
        with self._shelf.holding(
            [blob.sha256]
        ):  # the Director may settle it meanwhile, and then nobody needs it any more
            received = wire.decode(await connection.call(wire.encode(Lacking((blob,))))).bytes[0]
            if received < blob.size:
                head = wire.encode(Upload(blob, received, told.run, told.ask, told.client))
                await connection.upload(head, self._up.paced(chunks_of(path, received)))

    async def _until_it_works(self, attempt: Callable[[Connection], Awaitable[T]]) -> T:
        while True:
            await self._there.wait()
            connection = self._connection
            if connection is None:
                continue
            try:
                return await attempt(connection)
            except NotConnected as problem:
                _log.debug("a transfer was cut: %s", problem.line)
                await asyncio.sleep(PAUSE)
            except DiskFull as problem:
                _log.warning("a transfer waits: %s", problem.line)
                await asyncio.sleep(PATIENCE)
