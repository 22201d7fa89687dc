"""Stages for the kit of transports: a service made of functions, a server under test, and how laws speak to both.

This file must not know how an adapter works, nor which laws there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Self

from hansa.errors import HansaError
from hansa.protocol.peer import Peer
from hansa.testing.laws import require
from hansa.transport import Connection, Listener, Service


@dataclass(frozen=True)
class Stage:
    """A server under test, started, and how it is dialled.

    Attributes:
        listener: the server's handle; whoever made it stops it in the end.
        connect: makes a connection for an Envoy of that name; whoever made it closes it in the end.
    """

    listener: Listener
    connect: Callable[[str], Connection]


MakeTransport = Callable[[Service], AbstractAsyncContextManager[Stage]]
"""service -> a stage on which that service is dialled."""

Frames = AsyncIterator[bytes]
STREAMS = "session", "watch", "download"
METHODS = "call", "upload", *STREAMS


async def _echoed(_: Peer, frames: Frames) -> Frames:
    async for frame in frames:
        yield frame


async def _answered(_: Peer, frame: bytes) -> bytes:
    return frame


async def _once(_: Peer, frame: bytes) -> Frames:
    yield frame


async def _joined(_: Peer, head: bytes, chunks: Frames) -> bytes:
    return b"%d %d" % (len(head), sum([len(chunk) async for chunk in chunks]))


@dataclass
class Scripted:
    """A service for tests, made of functions; those that are not given echo."""

    session: Callable[..., Frames] = _echoed
    call: Callable[..., Coroutine[Any, Any, bytes]] = _answered
    watch: Callable[..., Frames] = _once
    upload: Callable[..., Coroutine[Any, Any, bytes]] = _joined
    download: Callable[..., Frames] = _once


@dataclass
class Trace:
    """Notes that something began and ended, and whether it took the whole of what it was given."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    whole: bool = False

    def __enter__(self) -> Self:
        self.begun.set()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()


def behaving(act: Callable[[str], Awaitable[None]], before: Sequence[bytes] = ()) -> Scripted:
    """A service whose every method first sends `before`, where it is a stream, and then does the same `act`."""

    def stream(name: str) -> Callable[..., Frames]:
        async def streaming(*_: object) -> Frames:
            for frame in before:
                yield frame
            await act(name)

        return streaming

    def single(name: str) -> Callable[..., Coroutine[Any, Any, bytes]]:
        async def answering(*_: object) -> bytes:
            await act(name)
            return b""

        return answering

    made: dict[str, Any] = {name: stream(name) if name in STREAMS else single(name) for name in METHODS}
    return Scripted(**made)


async def sending(frames: Iterable[bytes], trace: Trace | None = None, *, then: asyncio.Event | None = None) -> Frames:
    """These frames; then the end, or none before `then`."""
    with Trace() if trace is None else trace:
        for frame in frames:
            yield frame
        if then is not None:
            await then.wait()


async def used(connection: Connection, method: str, frame: bytes = b"x", sent: Frames | None = None) -> list[bytes]:
    """Everything that a method brings back."""
    frames = sending([frame]) if sent is None else sent
    match method:
        case "call":
            return [await connection.call(frame)]
        case "upload":
            return [await connection.upload(b"", frames)]
        case "session":
            return [each async for each in connection.session(frames)]
        case _:
            return [each async for each in getattr(connection, method)(frame)]


async def raised(law: str, kind: type[HansaError], awaited: Awaitable[object]) -> HansaError:
    """The error of that kind that something raises; the law is broken by any other, and by none."""
    try:
        found = await awaited
    except kind as error:
        return error
    except (Exception, asyncio.CancelledError) as error:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise  # the kit's own patience
        raise AssertionError(f"broken law: {law}; it raised {error!r} instead of a {kind.__name__}") from error
    raise AssertionError(f"broken law: {law}; there was {str(found)[:80]} instead of a {kind.__name__}")


def same(found: object, expected: object, law: str) -> None:
    """The law is broken unless the two are equal."""
    require(found == expected, law, f"{str(found)[:200]} instead of {str(expected)[:200]}")


async def noticed(trace: Trace, law: str, patience: float = 5.0) -> None:
    """The law is broken unless what is traced ends soon; seconds."""
    try:
        async with asyncio.timeout(patience):
            await trace.ended.wait()
    except TimeoutError:
        raise AssertionError(f"broken law: {law}") from None
