"""Files as chunks, and chunks in groups: nothing is lost, whatever breaks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hansa.errors import Damaged, NotConnected
from hansa.protocol.messages import Blob
from hansa.runtime.files import AT_ONCE, chunks_of, in_groups
from hansa.runtime.shelf import Shelf
from hansa.store.blobs import FileBlobs
from hansa.transport.port import CHUNK


async def streamed(chunks: list[bytes], broken: bool = False) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if broken:
        raise NotConnected("cut")


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK * AT_ONCE, CHUNK * AT_ONCE + 1])
@pytest.mark.parametrize("offset", [0, 1])
def test_a_file_comes_in_chunks_from_an_offset_on(tmp_path: Path, size: int, offset: int) -> None:
    content = bytes(range(251)) * (size // 251) + bytes(size % 251)
    (tmp_path / "file").write_bytes(content)

    async def read() -> list[bytes]:
        return [chunk async for chunk in chunks_of(tmp_path / "file", offset)]

    chunks = asyncio.run(read())
    assert b"".join(chunks) == content[offset:]
    assert all(0 < len(chunk) <= CHUNK for chunk in chunks)


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, AT_ONCE + 1])
@pytest.mark.parametrize("broken", [False, True])
def test_a_break_takes_no_chunk_along(count: int, broken: bool) -> None:
    chunks, got = [bytes([number]) for number in range(count)], list[bytes]()

    async def read() -> None:
        async for group in in_groups(streamed(chunks, broken)):
            got.extend(group)

    if broken:
        with pytest.raises(NotConnected):
            asyncio.run(read())
    else:
        asyncio.run(read())
    assert got == chunks


@pytest.mark.parametrize("here", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_what_is_here_already_is_not_written_twice(tmp_path: Path, here: int, offset: int) -> None:
    if offset > here:
        pytest.skip("nobody sends from beyond what is here")
    content = b"0123456789"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))
    shelf = Shelf(FileBlobs(tmp_path, keep_free=0), set, lambda: 0.0)

    async def work() -> None:
        with pytest.raises(NotConnected):
            await shelf.receive(blob, 0, streamed([content[:here]], broken=True), "alice")
        assert shelf.received(blob, "alice") == here
        rest = [content[at : at + 2] for at in range(offset, len(content), 2)]
        assert await shelf.receive(blob, offset, streamed(rest), "alice") == len(content)

    asyncio.run(work())
    assert shelf.has(blob, "alice")


def test_who_knows_only_a_blobs_name_has_not_got_it(tmp_path: Path) -> None:
    content = b"0123456789"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))
    shelf = Shelf(FileBlobs(tmp_path, keep_free=0), set, lambda: 0.0)

    async def work() -> None:
        assert await shelf.receive(blob, 0, streamed([content]), "alice") == len(content)
        assert (shelf.received(blob, "bob"), shelf.has(blob, "bob")) == (0, False)
        with pytest.raises(Damaged):
            await shelf.receive(blob, 0, streamed([b"9876543210"]), "bob")
        assert not shelf.has(blob, "bob")
        assert await shelf.receive(blob, 0, streamed([content]), "bob") == len(content)
        assert shelf.has(blob, "bob")

    asyncio.run(work())


def test_another_ones_wrong_beginning_spoils_nothing(tmp_path: Path) -> None:
    content = b"0123456789"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))
    shelf = Shelf(FileBlobs(tmp_path, keep_free=0), set, lambda: 0.0)

    async def work() -> None:
        assert await shelf.receive(blob, 0, streamed([b"wrong"]), "mallory") == 5
        assert await shelf.receive(blob, 0, streamed([content]), "alice") == len(content)

    asyncio.run(work())
