"""WebSocket through an HTTP proxy, as hospitals have them: TLS from end to end, and the proxy sees nothing of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hansa.errors import NotConnected
from hansa.protocol.peer import Peer, Role
from hansa.testing.certificates import ThrowAwayAuthority
from hansa.testing.stages import Scripted
from hansa.transport import CHUNK, Connection, Credentials
from hansa.transport.dial import dialled
from hansa.transport.websocket import WebSocketConnection, WebSocketDialler, WebSocketListener, WebSocketWorker

NAME = "director.test"
SECRET = b"a record that no proxy may see"
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "WSS_PROXY", "WS_PROXY", "SOCKS_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> ThrowAwayAuthority:
    return ThrowAwayAuthority()


@dataclass
class Proxy:
    """A small HTTP proxy that knows one method, CONNECT; all names lead to this machine.

    Attributes:
        login: `user:password` that it asks for, where there is one.
        port: of the proxy.
        asked: where it was asked to connect to.
        seen: everything that went through.
    """

    login: str = ""
    port: int = 0
    asked: list[str] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)
    _busy: set[asyncio.StreamWriter] = field(default_factory=set)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await server.wait_closed()

    def cut(self) -> None:
        """Break everything that goes through."""
        for writer in self._busy:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, place, _ = head.split(maxsplit=2)
        self.asked.append(f"{method} {place}")
        wanted = base64.b64encode(self.login.encode()).decode()
        if self.login and f"Proxy-Authorization: Basic {wanted}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", int(place.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._busy |= {writer, back}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pour(reader, back), self._pour(there, writer))
        self._busy -= {writer, back}

    async def _pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            self.seen += data
            writer.write(data)
            await writer.drain()
        writer.close()


async def _total(_: Peer, head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
    return b"%b %d" % (head, sum([len(chunk) async for chunk in chunks]))


async def _endless(connection: Connection) -> None:
    while True:
        await connection.call(b"until it breaks")


async def _megabytes() -> AsyncIterator[bytes]:
    for _ in range(5):
        yield SECRET + bytes(CHUNK - len(SECRET))


def through(proxy: Proxy, authority: ThrowAwayAuthority, use: Callable[[str, Credentials], Awaitable[None]]) -> None:
    """Use a server, under a name that is nobody's, while that proxy is there."""

    async def run() -> None:
        own = authority.credentials("director", Role.DIRECTOR, hosts=(NAME,))
        listener = WebSocketListener(
            Scripted(upload=_total), "wss://127.0.0.1:0", credentials=own, admit=authority.admit
        )
        address = (await listener.start()).replace("127.0.0.1", NAME)
        async with proxy.open():
            await use(address, authority.credentials("alpha"))
        await listener.stop()

    asyncio.run(run())


def test_a_client_crosses_a_proxy_with_tls_from_end_to_end(
    authority: ThrowAwayAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(login="user:pass word")

    async def use(address: str, alpha: Credentials) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass%20word@127.0.0.1:{proxy.port}")
        async with dialled(address, credentials=alpha) as connection:
            assert await connection.call(SECRET) == SECRET
            assert await connection.upload(b"head", _megabytes()) == b"head %d" % (5 * CHUNK)
            proxy.cut()
            with pytest.raises(NotConnected, match="the connection broke"):
                await _endless(connection)
            assert await connection.call(b"again") == b"again"
        place = address.removeprefix("wss://")
        assert proxy.asked == [f"CONNECT {place}"] * 2
        assert len(proxy.seen) > 5 * CHUNK
        assert SECRET not in proxy.seen
        assert b"hansa" not in proxy.seen  # not even what is spoken

    through(proxy, authority, use)


def test_a_proxy_that_refuses_is_told_apart(authority: ThrowAwayAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(login="user:password")

    async def use(address: str, alpha: Credentials) -> None:
        for place, words in (
            (
                f"http://127.0.0.1:{proxy.port}",
                r"the proxy does not let through \(proxy rejected connection: HTTP 407\)",
            ),
            ("ftp://127.0.0.1:1", "the proxy does not let through"),
            ("http://127.0.0.1:1", "nothing listens there"),
        ):
            monkeypatch.setenv("HTTPS_PROXY", place)
            async with WebSocketConnection(address, credentials=alpha) as connection:
                with pytest.raises(NotConnected, match=words):
                    await connection.call(b"x")

    through(proxy, authority, use)


def test_a_proxy_cannot_pose_as_the_server(authority: ThrowAwayAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ThrowAwayAuthority("the proxy's own")

    async def run() -> None:
        own = other.credentials("director", Role.DIRECTOR, hosts=(NAME,))
        impostor = WebSocketListener(Scripted(), "wss://127.0.0.1:0", credentials=own, admit=other.admit)
        address = (await impostor.start()).replace("127.0.0.1", NAME)
        async with Proxy().open() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            async with WebSocketConnection(address, credentials=authority.credentials("alpha")) as connection:
                with pytest.raises(NotConnected, match="of another authority"):
                    await connection.call(SECRET)
            assert SECRET not in proxy.seen
        await impostor.stop()

    asyncio.run(run())


def test_a_service_reaches_its_worker_through_a_proxy(
    authority: ThrowAwayAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        alice, own = authority.credentials("alice"), authority.credentials("director", Role.DIRECTOR)
        async with (
            Proxy().open() as proxy,
            WebSocketWorker("wss://127.0.0.1:0", credentials=alice, admit=authority.admit) as worker,
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            address = worker.address.replace("127.0.0.1", "alice.test")
            dialler = WebSocketDialler(Scripted(upload=_total), address, credentials=own, admit=authority.admit)
            await dialler.start()
            connection = await anext(worker)
            assert await connection.upload(b"head", _megabytes()) == b"head %d" % (5 * CHUNK)
            await dialler.stop()
            assert proxy.asked == [f"CONNECT {address.removeprefix('wss://')}"]

    asyncio.run(run())


def test_this_machine_is_never_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        listener = WebSocketListener(Scripted(), "ws://127.0.0.1:0", insecure=True)
        address = await listener.start()
        async with Proxy().open() as proxy:
            for name in ("HTTPS_PROXY", "HTTP_PROXY", "WS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            for place in (address, address.replace("127.0.0.1", "localhost")):
                async with WebSocketConnection(place, insecure=Peer("alpha", Role.ENVOY)) as connection:
                    assert await connection.call(b"x") == b"x"
            assert proxy.asked == []
        await listener.stop()

    asyncio.run(run())
