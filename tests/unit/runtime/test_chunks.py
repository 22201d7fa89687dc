"""Files as chunks, and chunks in groups: nothing is lost, whatever breaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hansa.errors import Damaged, NotConnected
from hansa.protocol.messages import Blob
from hansa.runtime.files import AT_ONCE, LEAST, SHARE, WHILE, chunk_size, chunks_of, in_groups
from hansa.runtime.shelf import Shelf
from hansa.store.blobs import FileBlobs
from hansa.store.port import Receiver
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


def test_after_a_start_a_beginning_is_gone_on_with_and_a_wrong_one_costs_no_more_than_to_send_it_anew(
    tmp_path: Path,
) -> None:
    content = b"0123456789"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))

    def shelf() -> Shelf:
        return Shelf(FileBlobs(tmp_path, keep_free=0), set, lambda: 0.0)

    async def begin(first: bytes, whose: str) -> Shelf:
        assert await shelf().receive(blob, 0, streamed([first]), whose) == len(first)
        again = shelf()
        await again.resume()
        assert again.received(blob, "alice") == len(first)
        return again

    async def right() -> None:
        again = await begin(content[:4], "alice")
        assert await again.receive(blob, 4, streamed([content[4:]]), "alice") == len(content)
        assert again.has(blob, "alice")
        assert not again.has(blob, "mallory")
        await again.release(blob.sha256, "alice")

    async def wrong() -> None:
        again = await begin(b"wrong", "mallory")
        with pytest.raises(NotConnected, match="was another's, and wrong"):
            await again.receive(blob, 5, streamed([content[5:]]), "alice")
        assert again.received(blob, "alice") == 0
        assert await again.receive(blob, 0, streamed([content]), "alice") == len(content)

    asyncio.run(right())
    asyncio.run(wrong())


@pytest.mark.parametrize("gone", [False, True], ids=["its caller waits", "its caller is cancelled"])
def test_who_sends_anew_while_the_old_transfer_is_put_away_builds_on_what_came(tmp_path: Path, gone: bool) -> None:
    content = b"0123456789"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))
    closing, close = threading.Event(), threading.Event()

    class Slow(FileBlobs):
        def receive(self, sha: str, size: int) -> Receiver:
            receiver = super().receive(sha, size)
            put_away = receiver.close

            def slowly() -> None:
                closing.set()
                assert close.wait(10)
                put_away()

            receiver.close = slowly  # type: ignore[method-assign]  # as a disk that takes its time
            return receiver

    shelf = Shelf(Slow(tmp_path, keep_free=0), set, lambda: 0.0)

    async def work() -> None:
        old = asyncio.create_task(shelf.receive(blob, 0, streamed([content[:4]], broken=True), "alice"))
        await asyncio.to_thread(closing.wait, 10)
        if gone:
            old.cancel()
            await asyncio.wait([old])
        new = asyncio.create_task(shelf.receive(blob, 4, streamed([content[4:]]), "alice"))
        await asyncio.wait([new], timeout=0.05)  # as far as it gets
        close.set()
        assert await new == len(content)
        with pytest.raises(asyncio.CancelledError if gone else NotConnected):
            await old

    asyncio.run(asyncio.wait_for(work(), 20))


def test_a_break_costs_no_more_than_a_part_of_what_was_sent_or_half_a_second_of_the_link() -> None:
    for rate in (1e3, 125e3, 1e6, 1e8, 1e10):
        sent, seconds, sizes = 0, 0.0, list[int]()
        while sent < 200e6 and len(sizes) < 300:
            size = chunk_size(sent, seconds)
            assert size <= max(LEAST, sent / SHARE)
            assert size <= max(LEAST, rate * WHILE * 1.01)
            sizes.append(size)
            sent, seconds = sent + size, seconds + size / rate
        assert sizes[0] == LEAST
    assert sizes[-1] == CHUNK, "a fast link gets chunks that cost no calls"


def test_chunks_are_smaller_where_they_are_taken_slowly(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(8 * CHUNK))

    async def sizes(seconds_a_byte: float) -> list[int]:
        found = list[int]()
        async for chunk in chunks_of(tmp_path / "file", clock=lambda: sum(found) * seconds_a_byte):
            found.append(len(chunk))
        return found

    slow, fast = asyncio.run(sizes(8e-6)), asyncio.run(sizes(1e-9))
    assert sum(slow) == sum(fast) == 8 * CHUNK
    assert max(slow) <= 2 * LEAST
    assert max(fast) > CHUNK // 2


def test_a_chunk_that_comes_alone_is_handed_on_before_the_next_comes() -> None:
    got, release = list[list[bytes]](), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"first"
        await release.wait()
        yield b"second"

    async def read() -> None:
        async for group in in_groups(slowly()):
            got.append(group)
            release.set()  # the second comes only once the first was handed on

    asyncio.run(asyncio.wait_for(read(), 10))
    assert got == [[b"first"], [b"second"]]


def test_a_reader_that_is_cancelled_leaves_nothing_behind() -> None:
    closed = []

    async def forever() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def run() -> None:
        async def read() -> None:
            async for _ in in_groups(forever()):
                reading.set()

        reading = asyncio.Event()
        task = asyncio.create_task(read())
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    assert closed == [True]


def test_a_stream_that_breaks_when_nobody_reads_any_more_breaks_silently() -> None:
    told = list[dict[str, object]]()

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
        groups = in_groups(streamed([b"first"] * AT_ONCE, broken=True))
        await anext(groups)
        group = asyncio.ensure_future(anext(groups))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # by now the stream has broken, and its reader has not looked
        group.cancel()
        with pytest.raises(asyncio.CancelledError):
            await group
        del groups, group
        gc.collect()

    asyncio.run(run())
    assert told == []


def test_who_sends_anew_takes_over_from_a_connection_that_is_dead_and_does_not_know_it(tmp_path: Path) -> None:
    content = b"0123456789"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))
    shelf = Shelf(FileBlobs(tmp_path, keep_free=0), set, lambda: 0.0)
    more = asyncio.Event()

    async def half_open() -> AsyncIterator[bytes]:
        yield content[:4]
        await more.wait()
        yield content[4:5]

    async def until(size: int) -> None:
        while shelf.received(blob, "alice") < size:
            await asyncio.sleep(0)

    async def work() -> None:
        dead = asyncio.create_task(shelf.receive(blob, 0, half_open(), "alice"))
        await until(4)
        assert await shelf.receive(blob, 4, streamed([content[4:]]), "alice") == len(content)
        more.set()
        with pytest.raises(NotConnected, match="the same is being sent anew, over another connection"):
            await dead

    asyncio.run(work())
    assert shelf.has(blob, "alice")


def test_who_is_cancelled_before_it_begins_holds_on_to_nothing(tmp_path: Path) -> None:
    content = b"0123456789"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))
    opened, release = threading.Event(), threading.Event()

    class Slow(FileBlobs):
        def receive(self, sha: str, size: int) -> Receiver:
            receiver = super().receive(sha, size)
            opened.set()
            assert release.wait(10)
            return receiver

    shelf = Shelf(Slow(tmp_path, keep_free=0), set, lambda: 0.0)

    async def work() -> None:
        cancelled = asyncio.create_task(shelf.receive(blob, 0, streamed([content]), "alice"))
        await asyncio.to_thread(opened.wait, 10)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        release.set()
        while True:
            with contextlib.suppress(NotConnected):
                await shelf.receive(blob, 0, streamed([content[:4]], broken=True), "alice")
            if shelf.received(blob, "alice") == 4:  # its part is the one that is resumed
                break
        assert await shelf.receive(blob, 4, streamed([content[4:]]), "alice") == len(content)

    asyncio.run(asyncio.wait_for(work(), 10))


def test_bytes_that_are_missing_before_the_offset_are_asked_for_again(tmp_path: Path) -> None:
    content = b"0123456789"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))
    shelf = Shelf(FileBlobs(tmp_path, keep_free=0), set, lambda: 0.0)
    with pytest.raises(NotConnected, match="bytes from 4 on were sent, and 0 can be built upon"):
        asyncio.run(shelf.receive(blob, 4, streamed([content[4:]]), "alice"))
