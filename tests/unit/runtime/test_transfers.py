"""Transfers over a connection that is cut anywhere: all arrives, and each cut costs the chunk that it fell into."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hansa.errors import NotConnected
from hansa.protocol import wire
from hansa.protocol.messages import Blob, Download, Lacking, Received, Result, Upload
from hansa.runtime.envoy.bandwidth import Bucket
from hansa.runtime.envoy.transfers import Transfers
from hansa.runtime.files import chunks_of
from hansa.runtime.shelf import Shelf
from hansa.store.blobs import FileBlobs
from hansa.transport.frames import closing
from hansa.transport.port import CHUNK, Connection

CONTENT = bytes(range(251)) * 2000
BLOB = Blob(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def shelf(folder: Path) -> Shelf:
    return Shelf(FileBlobs(folder, keep_free=0), set, lambda: 0.0)


class Cut:
    """A connection to a shelf that is cut after so many bytes each time, and is whole in the end.

    Attributes:
        sent: bytes that went into it, those that a cut took included.
        lost: the sizes of the chunks that cuts fell into.
    """

    def __init__(self, there: Shelf, cuts: list[int]) -> None:
        self.there, self.cuts = there, list(cuts)
        self.sent, self.lost, self.uploads = 0, list[int](), 0

    async def call(self, frame: bytes) -> bytes:
        asked = wire.decode(frame)
        assert isinstance(asked, Lacking)
        return wire.encode(Received(tuple(self.there.received(blob, "alice") for blob in asked.blobs)))

    async def upload(self, head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        self.uploads += 1
        asked = wire.decode(head)
        assert isinstance(asked, Upload)
        here = await self.there.receive(asked.blob, asked.offset, self._carried(chunks), "alice")
        return wire.encode(Received((here,)))

    def download(self, head: bytes) -> AsyncIterator[bytes]:
        asked = wire.decode(head)
        assert isinstance(asked, Download)
        path = self.there.path(asked.sha256)
        assert path is not None
        return self._carried(chunks_of(path, asked.offset))

    async def _carried(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = self.cuts.pop(0) if self.cuts else None
        async with closing(chunks):
            async for chunk in chunks:
                self.sent += len(chunk)
                if left is not None and left < len(chunk):
                    self.lost.append(len(chunk))
                    raise NotConnected("cut")
                left = None if left is None else left - len(chunk)
                yield chunk


def over(connection: Cut, here: Shelf, **details: Any) -> Transfers:
    """Transfers over that connection, which stands again as soon as it was cut."""
    transfers = Transfers(here, **details)
    transfers.connected(cast("Connection", connection))
    return transfers


def done(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hansa.runtime.envoy.transfers.PAUSE", 0.0)


CUTS = st.lists(st.integers(0, 2 * len(CONTENT)), max_size=6)


@pytest.mark.parametrize("way", ["up", "down"])
@given(cuts=CUTS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_cut_costs_the_chunk_that_it_fell_into(
    tmp_path_factory: pytest.TempPathFactory, way: str, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("ends")

    async def work() -> Cut:
        here, there = shelf(folder / "here"), shelf(folder / "there")
        connection = Cut(there, cuts)
        transfers = over(connection, here)
        if way == "up":
            blob = await here.put(CONTENT, "run")
            await transfers.deliver(Result("run", 1, "alice", blob))
            assert there.has(BLOB, "alice")
        else:
            await there.put(CONTENT, "alice")
            path = await transfers.fetched("run", BLOB)
            assert path.read_bytes() == CONTENT
        return connection

    connection = done(work())
    assert connection.sent == len(CONTENT) + sum(connection.lost)
    assert len(connection.lost) <= len(cuts)
    assert max(connection.lost, default=0) <= CHUNK


def test_equal_updates_of_two_clients_travel_once(tmp_path: Path) -> None:
    async def work() -> Cut:
        here, there = shelf(tmp_path / "here"), shelf(tmp_path / "there")
        connection = Cut(there, [])
        transfers = over(connection, here)
        blob = await here.put(CONTENT, "run")
        await asyncio.gather(*(transfers.deliver(Result("run", 1, client, blob)) for client in ("alice/a", "alice/b")))
        return connection

    assert done(work()).uploads == 1


@pytest.mark.parametrize("way", ["up", "down"])
def test_every_chunk_passes_through_the_bucket_of_its_way(tmp_path: Path, way: str) -> None:
    class Noting(Bucket):
        def __init__(self) -> None:
            super().__init__()
            self.taken = 0

        async def take(self, count: int) -> None:
            self.taken += count

    async def work() -> tuple[int, int]:
        here, there = shelf(tmp_path / "here"), shelf(tmp_path / "there")
        up, down = Noting(), Noting()
        transfers = over(Cut(there, []), here, up=up, down=down)
        if way == "up":
            await transfers.deliver(Result("run", 1, "alice", await here.put(CONTENT, "run")))
        else:
            await there.put(CONTENT, "alice")
            await transfers.fetched("run", BLOB)
        return up.taken, down.taken

    assert done(work()) == ((len(CONTENT), 0) if way == "up" else (0, len(CONTENT)))
