"""The conformance kit of transports: whoever carries frames, over a network or within a process, does the same with them.

This file must not know how an adapter works: everything is seen through a service at one end and a connection at the other.
No law waits for a time to pass; each waits for what should happen, and is broken if that takes longer than the patience.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from hansa import errors
from hansa.errors import FederationError, HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer, Role
from hansa.testing.laws import require
from hansa.testing.stages import (
    METHODS,
    STREAMS,
    Frames,
    MakeTransport,
    Scripted,
    Stage,
    Trace,
    behaving,
    raised,
    same,
    sending,
    used,
)
from hansa.testing.transport_ends import ENDS
from hansa.transport import CHUNK, FRAME_LIMIT, HEAD_LIMIT, Connection
from hansa.transport.frames import closing

__all__ = ["MakeTransport", "Scripted", "Stage", "check_transport"]


def check_transport(make: MakeTransport, *, patience: float = 20.0) -> None:
    """Check that a transport carries frames as the port promises.

    Args:
        make: puts a service on a stage; it is called once for each law, in an event loop of its own.
        patience: seconds after which something that should happen counts as never happening.

    Raises:
        AssertionError: a law is broken; the message says which.
    """
    for law in (
        _calls,
        _sessions,
        _conversations,
        _watches,
        _uploads,
        _downloads,
        _sizes,
        _errors,
        _foreign_exceptions,
        _many_sessions,
        *ENDS,
    ):
        asyncio.run(_limited(law, make, patience))


async def _limited(law: Callable[[MakeTransport], Awaitable[None]], make: MakeTransport, patience: float) -> None:
    try:
        async with asyncio.timeout(patience):
            await law(make)
    except TimeoutError:
        said = (law.__doc__ or law.__name__).strip().rstrip(".")
        raise AssertionError(f"broken law: {said}; it takes for ever") from None
    except HansaError as error:
        said = (law.__doc__ or law.__name__).strip().rstrip(".")
        raise AssertionError(f"broken law: {said}; there was {error!r}") from error


def _content() -> list[bytes]:
    """Frames of all sizes, that differ from each other."""
    random = Random(7)  # noqa: S311 - no secret
    sizes = [0, 1, 2, 0, FRAME_LIMIT, 65_536, FRAME_LIMIT - 1, 0, *(random.randrange(3000) for _ in range(200)), 0]
    return [b"%d" % number + random.randbytes(size) if 2 < size < FRAME_LIMIT - 1 else bytes([number % 256]) * size
            for number, size in enumerate(sizes)]  # fmt: skip


# --- the laws


async def _calls(make: MakeTransport) -> None:
    """Each call gets its own answer."""
    peers: list[Peer] = []

    async def call(peer: Peer, frame: bytes) -> bytes:
        peers.append(peer)
        return frame[::-1]

    async with make(Scripted(call=call)) as stage:
        content = _content()
        found = await asyncio.gather(*map(stage.connect("alpha").call, content))
        same(found, [frame[::-1] for frame in content], "each call gets its own answer, of any size")
        await stage.connect("bravo").call(b"")
    law = "a service is told who calls"
    same([(peer.name, peer.role) for peer in peers[-2:]], [(name, Role.ENVOY) for name in ("alpha", "bravo")], law)


async def _sessions(make: MakeTransport) -> None:
    """A session keeps the order and content of frames, in both directions at once."""
    content, law = _content(), "a session keeps the order and content of frames"
    got: list[bytes] = []

    async def session(_: Peer, frames: Frames) -> Frames:
        async def collect() -> None:
            got.extend([frame async for frame in frames])

        collecting = asyncio.create_task(collect())
        for frame in reversed(content):
            yield frame
        await collecting
        yield b"end"

    async with make(Scripted(session=session)) as stage:
        found = await used(stage.connect("alpha"), "session", sent=sending(content))
    require(got == content, f"{law}, from caller to service", f"{len(got)} of {len(content)} frames")
    require(found == [*reversed(content), b"end"], f"{law}, from service to caller", f"{len(found)} frames")


async def _conversations(make: MakeTransport) -> None:
    """A frame is delivered at once, not when the next one comes."""
    async with make(Scripted()) as stage:
        turns: asyncio.Queue[bytes] = asyncio.Queue()
        turns.put_nowait(b"0")

        async def sent() -> Frames:
            while (frame := await turns.get()) != b"20":
                yield frame

        found = []
        async for frame in stage.connect("alpha").session(sent()):
            found.append(frame)
            turns.put_nowait(b"%d" % (int(frame) + 1))
    same(found, [b"%d" % number for number in range(20)], "the end of what a caller sends reaches the service")


async def _watches(make: MakeTransport) -> None:
    """What a service pushes is delivered at once, and in order."""
    content, seen = _content(), asyncio.Event()

    async def watch(_: Peer, frame: bytes) -> Frames:
        yield frame
        for each in content:
            await seen.wait()
            seen.clear()
            yield each

    async with make(Scripted(watch=watch)) as stage:
        found = []
        async for frame in stage.connect("alpha").watch(b"question"):
            found.append(frame)
            seen.set()
    require(found == [b"question", *content], "what a service pushes arrives in order", f"{len(found)} frames")


async def _uploads(make: MakeTransport) -> None:
    """An upload arrives byte for byte."""
    content, got = Random(8).randbytes(5 * CHUNK + 17), bytearray()  # noqa: S311 - no secret

    async def upload(_: Peer, head: bytes, chunks: Frames) -> bytes:
        got.clear()
        async for chunk in chunks:
            if chunk == b"enough":
                return b"early"
            got.extend(chunk)
        return head

    async with make(Scripted(upload=upload)) as stage:
        connection, head = stage.connect("alpha"), bytes(range(256)) * (HEAD_LIMIT // 256)
        for size in (CHUNK, FRAME_LIMIT, 77_777):
            pieces = [b"", *(content[start : start + size] for start in range(0, len(content), size)), b""]
            same(await connection.upload(head, sending(pieces)) == head, True, "an upload's head arrives whole")
            require(bytes(got) == content, "an upload arrives byte for byte", f"{len(got)} of {len(content)} bytes")
        same(await connection.upload(b"", sending([])), b"", "an upload may be empty")
        trace, law = Trace(), "a service may answer an upload early"
        endless = sending([b"some", b"enough"], trace, then=asyncio.Event())
        same(await connection.upload(b"", endless), b"early", law)
        await trace.ended.wait()


async def _downloads(make: MakeTransport) -> None:
    """A download arrives byte for byte."""
    content, trace = Random(9).randbytes(5 * CHUNK + 17), Trace()  # noqa: S311 - no secret

    async def download(_: Peer, head: bytes) -> Frames:
        with trace:
            size = int(head)
            for start in range(0, len(content), size):
                yield content[start : start + size]

    async with make(Scripted(download=download)) as stage:
        connection = stage.connect("alpha")
        for size in (CHUNK, FRAME_LIMIT, 77_777):
            found = b"".join([chunk async for chunk in connection.download(b"%d" % size)])
            require(found == content, "a download arrives byte for byte", f"{len(found)} of {len(content)} bytes")
        trace.ended.clear()
        chunks = connection.download(b"1000")
        async with closing(chunks):
            await anext(chunks)
        await trace.ended.wait()


async def _sizes(make: MakeTransport) -> None:
    """A frame that is too large is a ProtocolError, and disturbs nobody else."""
    law, large = "a frame that is too large is a ProtocolError", bytes(FRAME_LIMIT + 1)

    async def nothing(_: str) -> None: ...

    async with make(Scripted()) as stage:
        connection = stage.connect("alpha")
        other = connection.session(sending([b"before"], then=asyncio.Event()))
        same(await anext(other), b"before", law)
        for method in METHODS:
            await raised(f"{law} ({method})", ProtocolError, used(connection, method, large))
        await raised(f"{law} (head)", ProtocolError, connection.upload(bytes(HEAD_LIMIT + 1), sending([])))
        await raised(f"{law} (head)", ProtocolError, used(connection, "download", bytes(HEAD_LIMIT + 1)))
        pending = asyncio.ensure_future(anext(other))
        same(await connection.call(b"still"), b"still", "a frame that is too large disturbs nobody else")
        require(not pending.done(), "a frame that is too large disturbs nobody else", "another session ended")
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
    async with make(behaving(nothing, [b"good", large])) as stage:
        for method in STREAMS:
            await raised(f"{law}, of a service too ({method})", ProtocolError, used(stage.connect("alpha"), method))


async def _errors(make: MakeTransport) -> None:
    """An error of a service reaches its caller as the same class, with the same words."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HansaError)]
    queue: list[HansaError] = []

    class Special(errors.DiskFull):
        """From elsewhere."""

    async def fail(_: str) -> None:
        raise queue.pop()

    async with make(behaving(fail, [b"1", b"2"])) as stage:
        connection = stage.connect("alpha")
        for number, kind in enumerate(kinds):
            texts = f"no {number}, “größer” 大\nline", f"file {number}", "try again"
            queue.append(kind(texts[0], where=texts[1], hint=texts[2]))
            law = f"an error crosses as the same class with the same words ({kind.__name__})"
            found = await raised(law, kind, used(connection, METHODS[number % len(METHODS)]))
            same((type(found), found.what, found.where, found.hint), (kind, *texts), law)
        queue.append(Special("full"))
        law = "an error of a class that the other side may not know crosses as the nearest one that it knows"
        same(type(await raised(law, HansaError, connection.call(b""))), errors.DiskFull, law)
        queue.append(NotConnected("a" * 100_000, hint="大" * 100_000, where="\0\x1b[31m" * 10_000))
        found = await raised("a long error crosses, shortened", NotConnected, connection.call(b""))
        require(found.what.startswith("aaaa") and found.hint.startswith("大"), "a long error crosses, shortened")
        for method in STREAMS:
            queue.append(errors.Damaged("torn"))
            got: list[bytes] = []
            waiting = sending([], then=asyncio.Event())
            stream = connection.session(waiting) if method == "session" else getattr(connection, method)(b"")
            await raised(f"a stream's error ends it ({method})", errors.Damaged, _read(stream, got))
            same(got, [b"1", b"2"], f"frames before an error arrive ({method})")


async def _read(stream: Frames, into: list[bytes]) -> None:
    async for frame in stream:
        into.append(frame)  # noqa: PERF401 - kept when the stream fails


async def _foreign_exceptions(make: MakeTransport) -> None:
    """An exception that is none of ours tells its caller nothing."""
    raising: list[BaseException] = []

    async def fail(_: str) -> None:
        raise raising[0]

    law = "an exception that is none of ours is a FederationError that tells nothing of it"
    async with make(behaving(fail)) as stage:
        connection = stage.connect("alpha")
        for error in (RuntimeError("secret 4711"), KeyError("4711"), asyncio.CancelledError("4711")):
            raising[:] = [error]
            for method in METHODS:
                found = await raised(f"{law} ({method}, {type(error).__name__})", HansaError, used(connection, method))
                require(type(found) is FederationError and "4711" not in f"{found!r} {found}", law, repr(found))


async def _many_sessions(make: MakeTransport) -> None:
    """Many sessions at once do not mix."""
    go = asyncio.Event()

    async def session(peer: Peer, frames: Frames) -> Frames:
        async for frame in frames:
            yield peer.name.encode() + b":" + frame

    async def one(connection: Connection, name: str) -> None:
        async def sent() -> Frames:
            yield b"first"
            await go.wait()
            for number in range(20):
                yield b"%d" % number

        expected = [f"{name}:{each}".encode() for each in ("first", *range(20))]
        stream, found = connection.session(sent()), []
        async for frame in stream:
            found.append(frame)
            if len(found) == 1:
                waiting.discard(asyncio.current_task())
                if not waiting:
                    go.set()
        same(found, expected, "many sessions at once do not mix")

    async with make(Scripted(session=session)) as stage, asyncio.TaskGroup() as group:
        names = [f"envoy-{number}" for number in range(12)]
        waiting: set[Any] = set()
        for name in names:
            connection = stage.connect(name)
            waiting |= {group.create_task(one(connection, name)) for _ in range(4)}
