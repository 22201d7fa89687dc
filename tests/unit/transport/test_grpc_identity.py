"""Who may speak over TLS, with whom, and what they are told otherwise. Real certificates, real handshakes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from hansa.errors import CertificateError, ConfigError, FederationError, HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer, Role
from hansa.testing.certificates import ThrowAwayAuthority
from hansa.testing.stages import METHODS, Scripted, Trace, sending, used
from hansa.transport import Credentials, Service
from hansa.transport.grpc import GrpcConnection, GrpcListener, wire

HOST = "127.0.0.1:0"
NAME = "director.test"


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
) -> AsyncIterator[tuple[GrpcListener, str]]:
    own = authority.credentials("director", Role.DIRECTOR, hosts=(NAME, "127.0.0.1"))
    listener = GrpcListener(service, HOST, credentials=own, admit=admit or authority.admit)
    address = await listener.start()
    try:
        yield listener, address
    finally:
        await listener.stop()


async def failure(address: str, credentials: Credentials, **options: Any) -> HansaError:
    async with GrpcConnection(address, credentials=credentials, **options) as connection:
        with pytest.raises(HansaError) as found:
            await connection.call(b"hello")
    return found.value


def test_a_caller_is_who_its_certificate_says(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        book = Book()
        async with listening(authority, book.service) as (_, address):
            for role in (Role.ENVOY, Role.USER):
                credentials = authority.credentials("alpha", role)
                async with GrpcConnection(address, credentials=credentials, server_name=NAME) as connection:
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
                proof = grpc.ssl_channel_credentials(authority.certificate)
                async with grpc.aio.secure_channel(address, proof) as channel:
                    with pytest.raises(grpc.aio.AioRpcError) as refused:
                        await channel.unary_unary(wire.method("Call"))(b"hello")
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            else:
                issuer, days = (authority, -1) if whose == "expired" else (stranger, 5)
                made = issuer.credentials("alpha", days=days)
                error = await failure(address, Credentials(made.certificate, made.key, authority.certificate))
                assert isinstance(error, NotConnected)
                assert "refuses this client's certificate" in error.what
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
            error = await failure(address, Credentials(alpha.certificate, alpha.key, stranger.certificate))
            assert isinstance(error, NotConnected)
            assert "of another authority" in error.what
        assert book.peers == []

    asyncio.run(run())


def test_why_nobody_answers_is_told_apart(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        alpha = authority.credentials("alpha")
        async with listening(authority, Scripted()) as (listener, address):
            await listener.stop()
            await listener.stop()
            nobody = await failure(address, alpha)
        unknown = await failure("no.such.host.invalid:7000", alpha)
        plain = GrpcListener(Scripted(), HOST, insecure=True)
        untrusted = await failure(await plain.start(), alpha)
        await plain.stop()
        assert {type(each) for each in (nobody, unknown, untrusted)} == {NotConnected}
        assert nobody.what == f"cannot connect to {address}: nothing listens there"
        assert nobody.where == address
        assert "the host's name is not known" in unknown.what
        assert "cannot connect" in untrusted.what

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
            connection = GrpcConnection(address, credentials=authority.credentials("alpha"))
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
                connection = GrpcConnection(address, credentials=credentials)
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


def test_strangers_at_the_door_disturb_nobody(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        async with listening(authority, Scripted()) as (_, address):
            connection = GrpcConnection(address, credentials=authority.credentials("alpha"))
            stream = connection.session(sending([b"one"], then=asyncio.Event()))
            assert await anext(stream) == b"one"
            pending = asyncio.ensure_future(anext(stream))
            for said in (
                b"GET / HTTP/1.1\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                bytes(range(256)) * 64,
                b"\x16\x03\x01",
            ):
                reader, writer = await asyncio.open_connection(*address.split(":"))
                with contextlib.suppress(OSError):  # it may hang up before it was told everything
                    writer.write(said)
                    writer.write_eof()
                    await reader.read()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                assert await connection.call(said) == said
            async with GrpcConnection(address, insecure=Peer("mallory", Role.ADMIN)) as plain:
                with pytest.raises(NotConnected):
                    await plain.call(b"hello")
            assert await connection.call(b"still") == b"still"
            assert not pending.done()
            pending.cancel()
            await connection.close()

    asyncio.run(run())


# --- what is refused before anybody listens or dials


def test_without_tls_only_this_machine_is_spoken_to() -> None:
    async def run() -> None:
        for address in ("0.0.0.0:0", "[::]:0", "director.example.org:7000", "192.0.2.1:7000"):
            with pytest.raises(ConfigError, match="for this machine only"):
                GrpcListener(Scripted(), address, insecure=True)
            with pytest.raises(ConfigError, match="for this machine only"):
                GrpcConnection(address, insecure=Peer("alpha", Role.ENVOY))
        with pytest.raises(ConfigError, match="needs credentials"):
            GrpcListener(Scripted(), HOST)
        with pytest.raises(ConfigError, match="needs credentials"):
            GrpcConnection("127.0.0.1:7000")

    asyncio.run(run())


@pytest.mark.parametrize("told", ["", "envoy", "emperor/alpha", "envoy/../etc", "envoy/", "alpha/envoy"])
def test_without_tls_a_caller_must_say_who_it_is(told: str) -> None:
    async def run() -> None:
        listener = GrpcListener(Scripted(), HOST, insecure=True)
        address = await listener.start()
        async with grpc.aio.insecure_channel(address) as channel:
            metadata = ((wire.PEER, told),) if told else ()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(wire.method("Call"))(b"hello", metadata=metadata)
        await listener.stop()
        assert refused.value.details() == ProtocolError.__name__

    asyncio.run(run())


def test_a_port_in_use_is_an_error_that_says_what_to_do(authority: ThrowAwayAuthority) -> None:
    async def run() -> None:
        async with listening(authority, Scripted()) as (_, address):
            port = address.rpartition(":")[2]
            own = authority.credentials("director", hosts=(NAME,))
            for options in ({"insecure": True}, {"credentials": own, "admit": authority.admit}):
                with pytest.raises(ConfigError, match=f"port {port} is in use already") as found:
                    await GrpcListener(Scripted(), address, **options).start()
                assert "choose another" in found.value.hint
        broken = Credentials(own.certificate, b"no key", own.authority)
        with pytest.raises(ConfigError, match="with this certificate and key"):
            await GrpcListener(Scripted(), HOST, credentials=broken, admit=authority.admit).start()
        listener = GrpcListener(Scripted(), address, insecure=True)
        assert await listener.start() == address  # free again
        with pytest.raises(ConfigError, match="started already"):
            await listener.start()
        await listener.stop()
        await GrpcListener(Scripted(), HOST, insecure=True).stop()  # never started

    asyncio.run(run())
