"""The calls of the second client, as docs/protocol.md has them, against the listeners of Hansa: credit, ends and errors."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hansa.errors import NotAllowed
from hansa.protocol.peer import Peer
from hansa.testing.stages import Scripted
from hansa.transport import CHUNK, FRAME_LIMIT
from hansa.transport.grpc import GrpcListener
from hansa.transport.websocket import WebSocketListener
from hansa.transport.websocket.framing import PIECE, WINDOW

CHUNKS = 3 * WINDOW // CHUNK
"""Enough for the credit to be used up and given back several times."""

Frames = AsyncIterator[bytes]


def chunk(number: int) -> bytes:
    """A chunk that no other is like."""
    return number.to_bytes(4, "big") * (CHUNK // 4)


WHOLE = hashlib.sha256(b"".join(map(chunk, range(CHUNKS)))).digest()


async def echoed(_: Peer, frame: bytes) -> bytes:
    return frame


async def echoes(_: Peer, frames: Frames) -> Frames:
    async for frame in frames:
        yield frame
        if frame == b"end":
            return


async def digested(_: Peer, head: bytes, chunks: Frames) -> bytes:
    content = hashlib.sha256()
    async for each in chunks:
        content.update(each)
    return head + content.digest()


async def given(_: Peer, head: bytes) -> Frames:
    yield head
    for number in range(CHUNKS):
        yield chunk(number)


async def refuses(*_: Any) -> bytes:
    raise NotAllowed("nobody waits for this")


async def refuses_late(*_: Any) -> Frames:
    yield b"first"
    raise NotAllowed("nobody waits for this")


@pytest.fixture(params=["grpc", "websocket"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Callable[[str], Any]]:
    """Hansa's listener, and how the second client dials it."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    module = importlib.import_module(f"second_client.over_{request.param}")
    if request.param == "grpc":
        return GrpcListener, lambda address: module.GrpcLink(address, None, "carol")
    return WebSocketListener, lambda address: module.dialled(address, None, "carol")


@pytest.fixture
def calls() -> Any:
    """How the second client's calls fail."""
    return importlib.import_module("second_client.calls")


def over(way: tuple[Any, Callable[[str], Any]], service: Scripted, use: Callable[[Any], None]) -> None:
    """Serve this, and use the second client's connection to it in a thread of its own."""
    listens, dials = way

    def using(address: str) -> None:
        link = dials(address)
        try:
            use(link)
        finally:
            link.close()

    async def serving() -> None:
        listener = listens(service, "127.0.0.1:0", insecure=True)
        address = await listener.start()
        try:
            async with asyncio.timeout(60):
                await asyncio.to_thread(using, address)
        finally:
            await listener.stop()

    asyncio.run(serving())


def test_frames_of_all_sizes_are_answered(way: Any) -> None:
    def use(link: Any) -> None:
        for size in (0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, FRAME_LIMIT):
            assert link.call(b"x" * size) == b"x" * size

    over(way, Scripted(call=echoed), use)


def test_a_session_goes_both_ways_until_its_end(way: Any, calls: Any) -> None:
    def use(link: Any) -> None:
        session = link.session()
        for frame in (b"", b"one", b"x" * FRAME_LIMIT, b"end"):
            session.send(frame)
            assert session.receive(30) == frame
        with pytest.raises(calls.Finished):
            session.receive(30)

    over(way, Scripted(session=echoes), use)


def test_more_than_the_credit_goes_up_and_comes_down(way: Any) -> None:
    def use(link: Any) -> None:
        assert link.upload(b"head", map(chunk, range(CHUNKS))) == b"head" + WHOLE
        head, *chunks = link.download(b"head")
        assert head == b"head"
        assert hashlib.sha256(b"".join(chunks)).digest() == WHOLE

    over(way, Scripted(upload=digested, download=given), use)


def test_who_reads_slowly_holds_up_nobody_else(way: Any) -> None:
    def use(link: Any) -> None:
        download = link.download(b"")
        next(download)
        assert link.call(b"meanwhile") == b"meanwhile"
        assert len(list(download)) == CHUNKS

    over(way, Scripted(call=echoed, download=given), use)


def test_an_error_is_read_in_every_call(way: Any, calls: Any) -> None:
    def use(link: Any) -> None:
        session = link.session()
        session.send(b"hello")
        assert session.receive(30) == b"first"
        for fails in (
            lambda: session.receive(30),
            lambda: link.call(b""),
            lambda: link.upload(b"", [b"chunk"]),
            lambda: list(link.download(b"")),
        ):
            with pytest.raises(calls.Refused, match="NotAllowed: nobody waits for this"):
                fails()

    service = Scripted(session=refuses_late, call=refuses, upload=refuses, download=refuses_late)
    over(way, service, use)
