"""What the transport in memory has beyond the port: cables to cut, and doors to shut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hansa.errors import CertificateError, ConfigError, NotConnected
from hansa.protocol.peer import Peer, Role
from hansa.testing.stages import Scripted, Trace, sending
from hansa.transport import MemoryConnection, MemoryListener

ALPHA, BRAVO = Peer("alpha", Role.ENVOY, "a1"), Peer("bravo", Role.ENVOY, "b2")


def with_listener(use: Callable[[MemoryListener], Awaitable[None]], **options: object) -> None:
    async def run() -> None:
        listener = MemoryListener(Scripted(), **options)  # type: ignore[arg-type]
        assert await listener.start() == "memory"
        await use(listener)
        await listener.stop()

    asyncio.run(run())


async def session(connection: MemoryConnection, trace: Trace) -> asyncio.Task[bytes]:
    """A session that is under way; the task waits for its next frame."""
    frames = connection.session(sending([b"first"], trace, then=asyncio.Event()))
    assert await anext(frames) == b"first"

    async def following() -> bytes:
        return await anext(frames)

    return asyncio.create_task(following())


def test_a_cut_breaks_what_is_under_way_of_one_or_of_all() -> None:
    async def use(listener: MemoryListener) -> None:
        traces = [Trace() for _ in range(3)]
        alpha, bravo = listener.connect(ALPHA), listener.connect(BRAVO)
        one, other = await session(alpha, traces[0]), await session(bravo, traces[1])
        assert listener.cut("nobody") == 0
        assert listener.cut("alpha") == 1
        with pytest.raises(NotConnected, match="the connection broke"):
            await one
        await traces[0].ended.wait()
        assert not other.done()
        assert await alpha.call(b"again") == b"again"
        again = await session(alpha, traces[2])
        assert listener.cut() == 2
        for task in (other, again):
            with pytest.raises(NotConnected):
                await task

    with_listener(use)


def test_new_calls_may_be_refused_while_old_ones_go_on() -> None:
    async def use(listener: MemoryListener) -> None:
        connection = listener.connect(ALPHA)
        old = await session(connection, Trace())
        listener.refusing = True
        trace = Trace()
        with pytest.raises(NotConnected, match="nothing listens"):
            await connection.upload(b"", sending([b"x"], trace))
        with pytest.raises(NotConnected):
            await connection.call(b"")
        assert not old.done()
        listener.refusing = False
        assert await connection.call(b"x") == b"x"
        listener.cut()
        with pytest.raises(NotConnected):
            await old

    with_listener(use)


def test_whoever_admits_decides_at_every_call() -> None:
    refused: list[str] = []

    def admit(peer: Peer) -> Peer:
        if peer.name in refused:
            raise CertificateError("revoked", where=peer.name)
        return peer

    async def use(listener: MemoryListener) -> None:
        connection = listener.connect(ALPHA)
        assert await connection.call(b"x") == b"x"
        refused.append("alpha")
        with pytest.raises(CertificateError, match="revoked") as found:
            await connection.call(b"x")
        assert found.value.where == "alpha"
        assert await listener.connect(BRAVO).call(b"x") == b"x"

    with_listener(use, admit=admit)


def test_a_server_is_started_once_and_may_be_started_again_after_a_stop() -> None:
    async def use(listener: MemoryListener) -> None:
        with pytest.raises(ConfigError, match="started already"):
            await listener.start()
        await listener.stop()
        await listener.stop()
        with pytest.raises(NotConnected, match="nothing listens"):
            await listener.connect(ALPHA).call(b"x")
        assert listener.cut() == listener.expel(["a1"]) == 0
        await listener.start()
        assert await listener.connect(ALPHA).call(b"x") == b"x"

    with_listener(use)


def test_a_connection_is_closed_with_its_block() -> None:
    async def use(listener: MemoryListener) -> None:
        async with listener.connect(ALPHA) as connection:
            assert await connection.call(b"x") == b"x"
        with pytest.raises(NotConnected, match="this connection was closed"):
            await connection.call(b"x")

    with_listener(use)
