"""What is dropped and what comes back at the same moment: contents can be equal, such as two updates that hold no arrays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest

from hansa.protocol.messages import Blob
from hansa.runtime.shelf import Shelf
from hansa.store.blobs import FileBlobs

CONTENT = b"no arrays"


class Hesitant(FileBlobs):
    """Deletes only when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.began, self.go = threading.Event(), threading.Event()

    def delete(self, shas: Iterable[str]) -> None:
        self.began.set()
        self.go.wait(10)
        super().delete(shas)


async def one() -> AsyncIterator[bytes]:
    yield CONTENT


async def begun(folder: Path) -> tuple[Hesitant, Shelf, Blob, asyncio.Task[None]]:
    """A shelf that is about to drop its only content, and whoever drops it."""
    blobs = Hesitant(folder)
    shelf = Shelf(blobs, frozenset, lambda: 0.0)
    blob = await shelf.put(CONTENT, "somebody")
    dropping = asyncio.create_task(shelf.release(blob.sha256, "somebody"))
    await asyncio.to_thread(blobs.began.wait, 10)
    return blobs, shelf, blob, dropping


COMES: dict[str, Callable[[Shelf, Blob], Coroutine[Any, Any, Any]]] = {
    "put": lambda shelf, _: shelf.put(CONTENT, "another"),
    "received": lambda shelf, blob: shelf.receive(blob, 0, one(), "another"),
}


@pytest.mark.parametrize("comes", COMES.values(), ids=COMES)
def test_what_comes_while_the_same_content_is_dropped_is_there_afterwards(
    comes: Callable[[Shelf, Blob], Coroutine[Any, Any, Any]], tmp_path: Path
) -> None:
    async def story() -> None:
        blobs, shelf, blob, dropping = await begun(tmp_path)
        coming = asyncio.create_task(comes(shelf, blob))
        await asyncio.wait([coming], timeout=0.05)  # as far as it gets
        blobs.go.set()
        await asyncio.gather(dropping, coming)
        assert shelf.has(blob, "another")

    asyncio.run(story())


def test_what_is_kept_while_it_is_dropped_is_not_said_to_be_here(tmp_path: Path) -> None:
    async def story() -> None:
        blobs, shelf, blob, dropping = await begun(tmp_path)
        keeping = asyncio.create_task(shelf.kept(blob.sha256, "another"))
        await asyncio.wait([keeping], timeout=0.05)
        blobs.go.set()
        assert await keeping == shelf.path(blob.sha256) is None
        await dropping

    asyncio.run(story())
