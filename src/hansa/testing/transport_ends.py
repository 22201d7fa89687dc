"""The second half of the kit of transports: how calls end, by either side, early, broken or from outside.

This file must not know how an adapter works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hansa.errors import CertificateError, NotConnected
from hansa.protocol.peer import Peer
from hansa.testing.laws import require
from hansa.testing.stages import (
    METHODS,
    STREAMS,
    Frames,
    MakeTransport,
    Scripted,
    Trace,
    behaving,
    noticed,
    raised,
    same,
    sending,
    used,
)
from hansa.transport import CHUNK, Connection
from hansa.transport.frames import closing

MANY, IN_FLIGHT = 160, 64
"""Chunks of a large content, and how many of them may be under way while nobody reads, at most: windows grow with delays."""


class _Broken(Exception):
    """Of a caller's own iterator."""


def _enduring() -> tuple[Scripted, dict[str, Trace]]:
    """A service whose methods never end by themselves, and what becomes of them."""
    traces = {method: Trace() for method in METHODS}

    async def endure(method: str) -> None:
        with traces[method]:
            await asyncio.Event().wait()

    return behaving(endure, [b"1"]), traces


def _begun(connection: Connection, method: str, trace: Trace | None = None) -> asyncio.Task[list[bytes]]:
    """A call whose caller has more to send, and does not end by itself."""
    frames = sending([b"x"], trace, then=asyncio.Event())
    return asyncio.create_task(used(connection, method, sent=frames))


async def _callers_that_leave(make: MakeTransport) -> None:
    """A service notices that its caller went away."""
    service, traces = _enduring()
    async with make(service) as stage:
        connection = stage.connect("alpha")
        for method, trace in traces.items():
            own = Trace()
            task = _begun(connection, method, own)
            await trace.begun.wait()
            if method in ("session", "upload"):
                await own.begun.wait()  # an iterator that never began would never end
            task.cancel()
            await asyncio.wait([task])
            require(task.cancelled(), "a caller that is cancelled sees no other error", f"{task}")
            await noticed(trace, f"a service notices that its caller was cancelled ({method})")
            if method in ("session", "upload"):
                await noticed(own, f"what a caller sends is closed when it is cancelled ({method})")
        for method in STREAMS:
            traces[method].begun.clear()
            traces[method].ended.clear()
            frames = sending([], then=asyncio.Event())
            stream = connection.session(frames) if method == "session" else getattr(connection, method)(b"")
            async with closing(stream):
                same(await anext(stream), b"1", "a stream may be left early")
                await traces[method].begun.wait()
            await noticed(traces[method], f"a service notices that its caller closed a stream ({method})")


async def _services_that_leave(make: MakeTransport) -> None:
    """A caller notices that a service has ended a session."""

    async def session(_: Peer, frames: Frames) -> Frames:
        yield await anext(frames)

    async with make(Scripted(session=session)) as stage:
        trace = Trace()
        found = await used(stage.connect("alpha"), "session", sent=sending([b"only"], trace, then=asyncio.Event()))
        same(found, [b"only"], "a session ends when the service ends it")
        await noticed(trace, "what a caller sends is closed when the service ends the session")


async def _broken_streams(make: MakeTransport) -> None:
    """A stream that breaks is never mistaken for one that ends."""
    reading, trace = asyncio.Event(), Trace()
    law = "a stream that breaks is never mistaken for one that ends"

    async def count(frames: Frames) -> int:
        total = 0
        with trace:
            async for _ in frames:
                total += 1
                reading.set()
            trace.whole = True
        return total

    async def session(_: Peer, frames: Frames) -> Frames:
        yield b"%d" % await count(frames)

    async def upload(_: Peer, __: bytes, chunks: Frames) -> bytes:
        return b"%d" % await count(chunks)

    async def breaking() -> Frames:
        yield b"one"
        await reading.wait()
        raise _Broken

    async with make(Scripted(session=session, upload=upload)) as stage:
        for method in ("session", "upload"):
            connection = stage.connect("alpha")
            for how in ("its iterator failed", "its connection was closed", "it was cancelled"):
                reading.clear()
                trace.ended.clear()
                failing = how == "its iterator failed"
                frames = breaking() if failing else sending([b"one"], then=asyncio.Event())
                task = asyncio.create_task(used(connection, method, sent=frames))
                await reading.wait()
                if how == "its connection was closed":
                    await connection.close()
                    connection = stage.connect("alpha")
                elif not failing:
                    task.cancel()
                await asyncio.wait([task])
                error = None if task.cancelled() else task.exception()
                expected = _Broken if failing else NotConnected if "closed" in how else type(None)
                says = "a caller is told of its own mistake, of a broken connection, and of nothing where it left"
                require(isinstance(error, expected), f"{says} ({method}, {how})", f"{error!r}")
                await noticed(trace, f"a service notices that its caller broke off ({method}, {how})")
                require(not trace.whole, law, f"the service saw the end of a {method} although {how}")


async def _held_back(make: MakeTransport) -> None:
    """Who reads slowly holds back who writes."""
    law, drawn = "who reads slowly holds back who writes, and no other call", 0
    first, resume, chunk = asyncio.Event(), asyncio.Event(), bytes(CHUNK)

    async def chunks() -> Frames:
        nonlocal drawn
        for drawn in range(1, MANY + 1):  # noqa: B007 - it is looked at from outside
            yield chunk

    async def upload(_: Peer, __: bytes, received: Frames) -> bytes:
        total = len(await anext(received))
        first.set()
        await resume.wait()
        async for each in received:
            total += len(each)
        return b"%d" % total

    async def settled(connection: Connection) -> None:
        """Other calls go to and fro until nothing more is drawn."""
        last, still = -1, 0
        while still < 30 and drawn < MANY:
            await connection.call(b"")
            last, still = drawn, still + 1 if drawn == last else 0

    async with make(Scripted(upload=upload, download=lambda *_: chunks())) as stage:
        connection = stage.connect("alpha")
        task = asyncio.create_task(connection.upload(b"", chunks()))
        await first.wait()
        await settled(connection)
        require(drawn <= IN_FLIGHT, f"{law} (upload)", f"{drawn} of {MANY} chunks went out unread")
        resume.set()
        same(await task, b"%d" % (MANY * CHUNK), f"{law} (upload)")

        drawn = 0
        stream = connection.download(b"")
        total = len(await anext(stream))
        await settled(connection)
        require(drawn <= IN_FLIGHT, f"{law} (download)", f"{drawn} of {MANY} chunks went out unread")
        async for each in stream:
            total += len(each)
        same(total, MANY * CHUNK, f"{law} (download)")


async def _closing(make: MakeTransport) -> None:
    """A closed connection is NotConnected."""
    service, traces = _enduring()
    async with make(service) as stage:
        connection = stage.connect("alpha")
        tasks = {method: _begun(connection, method) for method in METHODS}
        await _all_begun(traces)
        await connection.close()
        await connection.close()
        for method, task in tasks.items():
            await raised(
                f"what is under way when its connection is closed is NotConnected ({method})", NotConnected, task
            )
            await noticed(traces[method], f"a service notices that a connection was closed ({method})")
            await raised(f"a closed connection is NotConnected ({method})", NotConnected, used(connection, method))


async def _stopping(make: MakeTransport) -> None:
    """A server that stops ends sessions and watches, and lets the rest finish within the grace."""
    service, traces = _enduring()
    finish, answering = asyncio.Event(), asyncio.Event()

    async def call(_: Peer, frame: bytes) -> bytes:
        answering.set()
        await finish.wait()
        return frame

    service.call = call
    async with make(service) as stage:
        connection = stage.connect("alpha")
        tasks = {method: _begun(connection, method) for method in METHODS}
        await answering.wait()
        await _all_begun({method: trace for method, trace in traces.items() if method != "call"})
        stopping = asyncio.create_task(stage.listener.stop(10.0))
        for method in ("session", "watch"):
            await raised(f"a server that stops ends a {method} as NotConnected", NotConnected, tasks[method])
            await noticed(traces[method], f"a server that stops ends a {method} on its own side too")
        finish.set()
        same(await tasks["call"], [b"x"], "a call is finished within the grace of a stop")
        require(not stopping.done(), "a stop waits for what is under way, for its grace")
        for method in ("upload", "download"):
            require(not tasks[method].done(), f"a stop lets an {method} go on during its grace")
            await _cancelled(tasks[method])
        await stopping
        await raised("nothing listens after a stop", NotConnected, used(stage.connect("bravo"), "call"))
    service, traces = _enduring()
    async with make(service) as stage:
        connection = stage.connect("alpha")
        tasks = {method: _begun(connection, method) for method in METHODS}
        await _all_begun(traces)
        await stage.listener.stop()
        for method, task in tasks.items():
            await raised(f"a stop without grace ends everything as NotConnected ({method})", NotConnected, task)
            require(traces[method].ended.is_set(), f"nothing goes on in a service after a stop ({method})")


async def _expelling(make: MakeTransport) -> None:
    """A peer that is expelled is cut off within a second, and nobody else is."""
    serials: dict[str, str] = {}
    service, traces = _enduring()
    echo = service.call

    async def call(peer: Peer, frame: bytes) -> bytes:
        if frame == b"who":
            serials[peer.name] = peer.serial
            return b""
        return await echo(peer, frame)

    service.call = call
    async with make(service) as stage:
        connection, other = stage.connect("alpha"), stage.connect("bravo")
        await connection.call(b"who")
        await other.call(b"who")
        tasks = {method: _begun(connection, method) for method in METHODS}
        await _all_begun(traces)
        for trace in traces.values():
            trace.begun.clear()
        bystander = _begun(other, "session")
        await traces["session"].begun.wait()
        same(stage.listener.expel(["no such", ""]), 0, "who has no certificate, or another one, is not expelled")
        if not serials["alpha"]:
            await _cancelled(bystander, *tasks.values())
            return  # nobody has a certificate here
        same(stage.listener.expel({serials["alpha"]}), len(METHODS), "to expel a peer ends all its calls")
        for method, task in tasks.items():
            law = f"a peer that is expelled sees a CertificateError within a second ({method})"
            await raised(law, CertificateError, _within(1.0, law, task))
            if method != "session":  # that trace is the bystander's too
                await noticed(traces[method], f"a service notices that its caller was expelled ({method})", 1.0)
        same(await other.call(b"who"), b"", "to expel a peer disturbs nobody else")
        require(not bystander.done(), "to expel a peer disturbs nobody else", f"{bystander}")
        await _cancelled(bystander)


async def _within(patience: float, law: str, task: asyncio.Task[Any]) -> object:
    done, _ = await asyncio.wait([task], timeout=patience)
    require(bool(done), law, "nothing happened")
    return await task


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _all_begun(traces: dict[str, Trace]) -> None:
    for trace in traces.values():
        await trace.begun.wait()


ENDS: tuple[Callable[[MakeTransport], Awaitable[None]], ...] = (
    _callers_that_leave,
    _services_that_leave,
    _broken_streams,
    _held_back,
    _closing,
    _stopping,
    _expelling,
)
