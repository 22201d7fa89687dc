"""Who may speak over WebSocket, with whom, and what they are told otherwise. Real certificates, real handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from hansa.errors import CertificateError, ConfigError, FederationError, HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer, Role
from hansa.testing.certificates import ThrowAwayAuthority
from hansa.testing.stages import METHODS, Scripted, Trace, sending, used
from hansa.transport import Credentials, Service, tls
from hansa.transport.grpc import GrpcConnection, GrpcListener
from hansa.transport.websocket import WebSocketConnection, WebSocketListener, wire

HOST = "wss://127.0.0.1:0"
NAME = "director.test"
ALPHA = Peer("alpha", Role.ENVOY)


class Book:
    """Echoes, and notes who came."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.service = Scripted(call=self.call)

    async def call(self, peer: Peer, frame: bytes) -> bytes:
        self.peers.append(peer)
        return frame


@asynccontextmanager
async def listening(
    authority: ThrowAwayAuthority, service: Service, admit: Callable[[bytes], Peer] | None = None
) -> AsyncIterator[tuple[WebSocketListener, str]]:
    own = authority.credentials("director", Role.DIRECTOR, hosts=(NAME, "127.0.0.1"))
    listener = WebSocketListener(service, HOST, credentials=own, admit=admit or authority.admit)
    address = await listener.start()
    try:
        yield listener, address
    finally:
        await listener.stop()


async def failure(address: str, credentials: Credentials, **options: Any) -> HansaError:
    async with WebSocketConnection(address, credentials=credentials, **options) as connection:
        with pytest.raises(HansaError) as found:
            await connection.call(b"hello")
    return found.value


def test_a_caller_is_who_its_certificate_says(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        book = Book()
        async with listening(authority, book.service) as (_, address):
            assert address.startswith("wss://127.0.0.1:")
            for role in (Role.ENVOY, Role.USER):
                credentials = authority.credentials("alpha", role)
                async with WebSocketConnection(address, credentials=credentials, server_name=NAME) as connection:
                    assert await connection.call(b"hello") == b"hello"
                assert book.peers[-1] == authority.admit(credentials.certificate)
                assert book.peers[-1].role is role
                assert book.peers[-1].serial

    asyncio.run(run())


@pytest.mark.parametrize("whose", ["another authority's", "expired", "none"])
def test_a_client_s_certificate_that_is_not_good_is_refused(
    authority: ThrowAwayAuthority, stranger: ThrowAwayAuthority, whose: str
) -> None:
    async def run() -> None:
        book = Book()
        async with listening(authority, book.service) as (_, address):
            if whose == "none":
                trusting = ssl.create_default_context(cadata=authority.certificate.decode())
                with pytest.raises(Exception):  # noqa: B017 - which one depends on the version of TLS
                    await connect(address, ssl=trusting, subprotocols=[wire.CALLS])
            else:
                issuer, days = (authority, -1) if whose == "expired" else (stranger, 5)
                made = issuer.credentials("alpha", days=days)
                error = await failure(address, Credentials(made.certificate, made.key, authority.certificate))
                assert isinstance(error, NotConnected)
                assert "refuses this side's certificate" in error.what
                assert "expired" in error.hint
        assert book.peers == []

    asyncio.run(run())


def test_a_server_that_is_not_the_right_one_is_not_spoken_to(
    authority: ThrowAwayAuthority, stranger: ThrowAwayAuthority
) -> None:
    async def run() -> None:
        book = Book()
        async with listening(authority, book.service) as (_, address):
            alpha = authority.credentials("alpha")
            error = await failure(address, alpha, server_name="elsewhere.test")
            assert isinstance(error, NotConnected)
            assert "for another name" in error.what
            error = await failure(address, alpha, server_name="192.0.2.7")
            assert "for another name" in error.what
            error = await failure(address, Credentials(alpha.certificate, alpha.key, stranger.certificate))
            assert isinstance(error, NotConnected)
            assert "of another authority" in error.what
        assert book.peers == []

    asyncio.run(run())


@pytest.mark.parametrize("transport", ["websocket", "grpc"])
def test_a_member_with_a_server_s_name_is_not_the_server(authority: ThrowAwayAuthority, transport: str) -> None:
    """Envoys may listen, so their certificates are good for TLS servers; a name alone does not make one a Director."""

    async def run() -> HansaError:
        book = Book()
        impostor = authority.credentials(NAME, hosts=("elsewhere.test",))
        options: dict[str, Any] = {"credentials": impostor, "admit": authority.admit}
        listener = (WebSocketListener if transport == "websocket" else GrpcListener)(
            book.service, "127.0.0.1:0", **options
        )
        address = await listener.start()
        alpha, dial = (
            authority.credentials("alpha"),
            WebSocketConnection if transport == "websocket" else GrpcConnection,
        )
        async with dial(address, credentials=alpha, server_name=NAME) as connection:
            with pytest.raises(NotConnected) as found:
                await connection.call(b"secret")
        await listener.stop()
        assert book.peers == []
        return found.value

    assert "for another name" in asyncio.run(run()).what


def test_why_nobody_answers_is_told_apart(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        alpha = authority.credentials("alpha")
        async with listening(authority, Scripted()) as (listener, address):
            async with WebSocketConnection(address.replace("wss", "ws"), insecure=ALPHA) as plain:
                with pytest.raises(NotConnected, match="it does not speak WebSocket"):
                    await plain.call(b"x")
            await listener.stop()
            await listener.stop()
            nobody = await failure(address, alpha)
        unknown = await failure("wss://no.such.host.invalid:7000", alpha)
        open_one = WebSocketListener(Scripted(), "127.0.0.1:0", insecure=True)
        untrusted = await failure((await open_one.start()).replace("ws:", "wss:"), alpha)
        await open_one.stop()
        assert {type(each) for each in (nobody, unknown, untrusted)} == {NotConnected}
        assert nobody.what == f"cannot connect to {address}: nothing listens there"
        assert nobody.where == address
        assert "the host's name is not known" in unknown.what
        assert "before the connection was secured" in untrusted.what
        assert "runs without TLS" in untrusted.hint

    asyncio.run(run())


def test_who_dials_the_other_transport_s_port_is_told_so(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        own = authority.credentials("director", Role.DIRECTOR, hosts=("127.0.0.1",))
        alpha = authority.credentials("alpha")
        for options, mine, scheme in (
            ({"credentials": own, "admit": authority.admit}, {"credentials": alpha}, "wss://"),
            ({"insecure": True}, {"insecure": ALPHA}, "ws://"),
        ):
            made: dict[str, Any] = options
            grpc, web = (kind(Scripted(), "127.0.0.1:0", **made) for kind in (GrpcListener, WebSocketListener))
            grpc_address, web_address = await grpc.start(), await web.start()
            as_me: dict[str, Any] = mine
            async with WebSocketConnection(scheme + grpc_address, **as_me) as connection:
                with pytest.raises(NotConnected, match="it does not speak WebSocket") as found:
                    await connection.call(b"x")
            assert "may speak gRPC, whose address is written without a scheme, host:port" in found.value.hint
            async with GrpcConnection(web_address.removeprefix(scheme), **as_me) as wrong:
                with pytest.raises(NotConnected, match="it does not speak gRPC") as found:
                    await wrong.call(b"x")
            assert "an address of WebSockets is written with a scheme, wss://host:port" in found.value.hint
            await asyncio.gather(grpc.stop(), web.stop())

    asyncio.run(run())


def test_whoever_admits_decides_at_every_call_and_is_heard(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        serials: list[str] = []
        revoked: set[str] = set()

        def admit(certificate: bytes) -> Peer:
            peer = authority.admit(certificate)
            serials.append(peer.serial)
            if peer.serial in revoked:
                raise CertificateError("this certificate was revoked", where=peer.name, hint="ask for another")
            return peer

        async with listening(authority, Scripted(), admit) as (_, address):
            connection = WebSocketConnection(address, credentials=authority.credentials("alpha"))
            for count in (1, 2):
                await connection.call(b"x")
                assert len(serials) == count
            revoked.update(serials)
            for method in METHODS:
                with pytest.raises(CertificateError) as found:
                    await used(connection, method, sent=sending([b"x"] * 20))
                texts = (found.value.what, found.value.where, found.value.hint)
                assert texts == ("this certificate was revoked", "alpha", "ask for another")
            await connection.close()

    asyncio.run(run())


def test_who_cannot_be_admitted_for_a_mistake_of_ours_is_not_admitted(
    authority: ThrowAwayAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    def admit(certificate: bytes) -> Peer:
        raise LookupError("secret 4711")

    async def run() -> HansaError:
        async with listening(authority, Scripted(), admit) as (_, address):
            return await failure(address, authority.credentials("alpha"))

    error = asyncio.run(run())
    assert type(error) is FederationError
    assert "4711" not in str(error)
    assert "secret 4711" in caplog.text


def test_a_caller_that_reads_nothing_is_expelled_all_the_same(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        trace, full = Trace(), asyncio.Event()
        written = 0

        async def flood(*_: object) -> AsyncIterator[bytes]:
            nonlocal written
            with trace:
                while True:
                    written += 1
                    yield bytes(2**20)

        async with listening(authority, Scripted(session=flood, download=flood)) as (listener, address):
            credentials = authority.credentials("alpha")
            serial = authority.admit(credentials.certificate).serial
            for method in ("session", "download"):
                trace.ended.clear()
                connection = WebSocketConnection(address, credentials=credentials)
                frames = sending([], then=full)
                stream = connection.session(frames) if method == "session" else connection.download(b"")
                await anext(stream)
                before = -1
                while before != written:  # until the other side has filled what there is to fill
                    before = written
                    for _ in range(20):
                        await connection.call(b"x")
                assert listener.expel([serial]) == 1
                async with asyncio.timeout(1.0):
                    await trace.ended.wait()
                with pytest.raises((CertificateError, NotConnected)):
                    async for _ in stream:
                        pass
                await connection.close()

    asyncio.run(run())


def test_strangers_at_the_door_disturb_nobody_and_do_not_keep_it_open(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        async with listening(authority, Scripted()) as (listener, address):
            host, port = address.removeprefix("wss://").split(":")
            connection = WebSocketConnection(address, credentials=authority.credentials("alpha"))
            stream = connection.session(sending([b"one"], then=asyncio.Event()))
            assert await anext(stream) == b"one"
            pending = asyncio.ensure_future(anext(stream))
            for said in (
                b"GET / HTTP/1.1\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                bytes(range(256)) * 64,
                b"\x16\x03\x01",
            ):
                reader, writer = await asyncio.open_connection(host, port)
                with contextlib.suppress(OSError):  # it may hang up before it was told everything
                    writer.write(said)
                    writer.write_eof()
                    await reader.read()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                assert await connection.call(said) == said
            assert not pending.done()
            _, silent = await asyncio.open_connection(host, port)  # says nothing, and stays
            await connection.call(b"x")
            pending.cancel()
            await connection.close()
            async with asyncio.timeout(5.0):
                await listener.stop()
            silent.close()

    asyncio.run(run())


# --- what is refused before anybody listens or dials


def test_without_tls_only_this_machine_is_spoken_to() -> None:
    async def run() -> None:
        for address in ("0.0.0.0:0", "ws://[::]:0", "ws://director.example.org:7000", "192.0.2.1:7000"):
            with pytest.raises(ConfigError, match="for this machine only"):
                WebSocketListener(Scripted(), address, insecure=True)
            with pytest.raises(ConfigError, match="for this machine only"):
                WebSocketConnection(address, insecure=ALPHA)
        with pytest.raises(ConfigError, match="needs credentials"):
            WebSocketListener(Scripted(), HOST)
        with pytest.raises(ConfigError, match="needs credentials"):
            WebSocketConnection("wss://127.0.0.1:7000")

    asyncio.run(run())


def test_a_scheme_that_says_otherwise_is_refused(authority: ThrowAwayAuthority) -> None:
    own = authority.credentials("alpha")

    async def run() -> None:
        with pytest.raises(ConfigError, match="is without TLS, and there are credentials for it"):
            WebSocketConnection("ws://127.0.0.1:7000", credentials=own)
        with pytest.raises(ConfigError, match=r"wss://127\.0\.0\.1:7000 needs credentials"):
            WebSocketConnection("wss://127.0.0.1:7000", insecure=ALPHA)
        with pytest.raises(ConfigError, match="is not an address"):
            WebSocketConnection("https://127.0.0.1:7000", credentials=own)

    asyncio.run(run())


@pytest.mark.parametrize("told", ["", "envoy", "emperor/alpha", "envoy/../etc", "envoy/", "alpha/envoy"])
def test_without_tls_a_caller_must_say_who_it_is(told: str) -> None:
    with pytest.raises(ProtocolError, match="does not say who they are"):
        wire.told(told)


def test_what_cannot_be_used_for_tls_is_a_certificate_error(authority: ThrowAwayAuthority) -> None:
    good, other = authority.credentials("alpha"), authority.credentials("bravo")
    for broken in (
        Credentials(good.certificate, b"no key", good.authority),
        Credentials(good.certificate, other.key, good.authority),
        Credentials(b"", good.key, good.authority),
        Credentials(good.certificate, good.key, "größer".encode()),
    ):
        with pytest.raises(CertificateError, match="cannot be used for TLS"):
            tls.server(broken)
        with pytest.raises(CertificateError, match="cannot be used for TLS"):
            tls.client(broken, names=True)


def test_tls_works_where_the_system_has_no_memory_files(
    authority: ThrowAwayAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.memfd_create")
    assert len(tls.server(authority.credentials("alpha")).get_ca_certs()) == 1


def test_a_port_in_use_is_an_error_that_says_what_to_do(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        async with listening(authority, Scripted()) as (_, address):
            place = address.removeprefix("wss://")
            port = address.rpartition(":")[2]
            own = authority.credentials("director", hosts=(NAME,))
            for options in ({"insecure": True}, {"credentials": own, "admit": authority.admit}):
                made: dict[str, Any] = options
                with pytest.raises(ConfigError, match=f"port {port} is in use already") as found:
                    await WebSocketListener(Scripted(), place, **made).start()
                assert "choose another" in found.value.hint
        listener = WebSocketListener(Scripted(), place, insecure=True)
        assert await listener.start() == f"ws://{place}"  # free again
        with pytest.raises(ConfigError, match="started already"):
            await listener.start()
        await listener.stop()
        await WebSocketListener(Scripted(), "127.0.0.1:0", insecure=True).stop()  # never started

    asyncio.run(run())
