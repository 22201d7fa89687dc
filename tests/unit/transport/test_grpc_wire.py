"""What travels over gRPC, looked at from one end with a client or a server that is not ours, or that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from hansa.errors import FederationError, HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer, Role
from hansa.testing.stages import Frames, Scripted, Trace, noticed, sending, used
from hansa.transport import FRAME_LIMIT
from hansa.transport.grpc import GrpcConnection, GrpcListener, wire

HOST = "127.0.0.1:0"
ALPHA = Peer("alpha", Role.ENVOY)
WHO = ((wire.PEER, "envoy/alpha"),)
UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


def with_server(service: Scripted, use: Callable[[str, GrpcConnection, Any], Awaitable[None]]) -> None:
    """A server, our own client, and a channel of a client that is not ours."""

    async def run() -> None:
        listener = GrpcListener(service, HOST, insecure=True)
        address = await listener.start()
        foreign = grpc.aio.insecure_channel(address, options=UNLIMITED)
        async with GrpcConnection(address, insecure=ALPHA) as own, foreign as channel:
            await use(address, own, channel)
        await listener.stop()

    asyncio.run(run())


class Counting:
    """A service that notes how what it is sent came to its end."""

    def __init__(self) -> None:
        self.trace, self.first, self.error = Trace(), asyncio.Event(), ""
        self.service = Scripted(session=self.session, upload=self.upload)

    async def count(self, frames: Frames) -> int:
        total = 0
        with self.trace:
            try:
                async for _ in frames:
                    total += 1
                    self.first.set()
                self.trace.whole = True
            except HansaError as error:
                self.error = type(error).__name__
                raise
        return total

    async def session(self, _: Peer, frames: Frames) -> AsyncIterator[bytes]:
        yield b"%d" % await self.count(frames)

    async def upload(self, _: Peer, __: bytes, chunks: Frames) -> bytes:
        return b"%d" % await self.count(chunks)


@pytest.mark.parametrize("method", ["Session", "Upload"])
@pytest.mark.parametrize("how", ["half-closed", "cancelled", "too large", "gone"])
def test_a_stream_without_its_mark_of_the_end_has_none(method: str, how: str) -> None:
    counting = Counting()

    async def use(address: str, own: GrpcConnection, channel: Any) -> None:
        call = channel.stream_stream(wire.method(method))(metadata=WHO)
        for message in (wire.FRAME, wire.FRAME + b"one"):
            await call.write(message)
        await counting.first.wait()
        match how:
            case "half-closed":
                await call.done_writing()
            case "cancelled":
                call.cancel()
            case "too large":
                await call.write(bytes(FRAME_LIMIT + 2))
            case _:
                await channel.close()
        await noticed(counting.trace, "the service notices")
        assert not counting.trace.whole
        assert counting.error in ("NotConnected", "")
        assert await own.call(b"still") == b"still"

    with_server(counting.service, use)


def test_a_message_of_a_session_that_is_no_frame_is_refused() -> None:
    async def use(address: str, own: GrpcConnection, channel: Any) -> None:
        call = channel.stream_stream(wire.method("Session"))(metadata=WHO)
        await call.write(b"naked")
        message = await call.read()
        assert message[:1] == wire.FAILED
        assert b"begins with a zero byte" in message
        call.cancel()

    with_server(Scripted(), use)


def test_what_a_foreign_client_sends_too_large_is_refused_and_disturbs_nobody() -> None:
    async def use(address: str, own: GrpcConnection, channel: Any) -> None:
        stream = own.session(sending([b"one"], then=asyncio.Event()))
        assert await anext(stream) == b"one"
        pending = asyncio.ensure_future(anext(stream))
        for method, size in (("Call", FRAME_LIMIT + 1), ("Call", 8 * 2**20), ("Download", 2**17)):
            kind = channel.unary_unary if method == "Call" else channel.unary_stream
            call = kind(wire.method(method))(bytes(size), metadata=WHO)
            with pytest.raises(grpc.aio.AioRpcError):
                await (call if method == "Call" else call.read())
        assert await own.call(b"still") == b"still"
        assert not pending.done()
        pending.cancel()

    with_server(Scripted(), use)


def test_an_upload_that_ends_before_its_head_is_not_served() -> None:
    served = Trace()

    async def upload(*_: object) -> bytes:
        served.begun.set()
        return b""

    async def use(address: str, own: GrpcConnection, channel: Any) -> None:
        call = channel.stream_stream(wire.method("Upload"))(metadata=WHO)
        await call.done_writing()
        message = await call.read()
        assert message[:1] == wire.FAILED
        call.cancel()
        assert not served.begun.is_set()

    with_server(Scripted(upload=upload), use)


def test_a_call_has_a_deadline() -> None:
    async def use(address: str, own: GrpcConnection, channel: Any) -> None:
        async with GrpcConnection(address, insecure=ALPHA, deadline=0.05) as hurried:
            with pytest.raises(NotConnected, match=r"no answer within 0\.05 s"):
                await hurried.call(b"x")

    async def never(*_: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    with_server(Scripted(call=never), use)


def test_a_connection_lives_on_when_its_server_was_started_again() -> None:
    async def run() -> None:
        first = GrpcListener(Scripted(), HOST, insecure=True)
        address = await first.start()
        async with GrpcConnection(address, insecure=ALPHA) as connection:
            assert await connection.call(b"x") == b"x"
            await first.stop()
            with pytest.raises(NotConnected):
                await connection.call(b"x")
            second = GrpcListener(Scripted(), address, insecure=True)
            await second.start()
            answer = b""
            async with asyncio.timeout(10):
                while not answer:
                    try:
                        answer = await connection.call(b"again")
                    except NotConnected:
                        await asyncio.to_thread(lambda: None)  # gRPC dials again by its own clock
            assert answer == b"again"
            await second.stop()

    asyncio.run(run())


# --- servers that are not ours


def foreign(handler: Any) -> Any:
    """A handler of every method, as a generic one of gRPC."""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
        def service(self, details: Any) -> Any:
            return handler(details.method.rpartition("/")[2])

    return Handler()


def with_foreign(handler: Any, use: Callable[[GrpcConnection], Awaitable[None]]) -> None:
    async def run() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((foreign(handler),))
        port = server.add_insecure_port(HOST)
        await server.start()
        async with GrpcConnection(f"127.0.0.1:{port}", insecure=ALPHA) as connection:
            await use(connection)
        await server.stop(None)

    asyncio.run(run())


def test_a_server_of_another_kind_is_a_protocol_error() -> None:
    async def use(connection: GrpcConnection) -> None:
        for method in ("call", "watch"):
            with pytest.raises(ProtocolError, match="does not speak hansa"):
                await used(connection, method)

    with_foreign(lambda method: None, use)


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "", NotConnected),
        (grpc.StatusCode.CANCELLED, "", NotConnected),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 4)", ProtocolError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", NotConnected),
        (grpc.StatusCode.UNKNOWN, "secret", FederationError),
        (grpc.StatusCode.PERMISSION_DENIED, "", FederationError),
    ],
)
def test_a_status_of_grpc_s_own_is_one_of_our_errors(code: Any, details: str, kind: type[HansaError]) -> None:
    async def fail(_: Any, context: Any) -> None:
        await context.abort(code, details)

    async def use(connection: GrpcConnection) -> None:
        with pytest.raises(HansaError) as found:
            await connection.call(b"x")
        assert type(found.value) is kind
        assert "secret" not in str(found.value)

    with_foreign(lambda method: grpc.unary_unary_rpc_method_handler(fail), use)


@pytest.mark.parametrize("message", [None, b"", b"\x07what", b"\x01not json"])
def test_an_answer_that_is_none_is_an_error(message: bytes | None) -> None:
    async def answer(_: Any, context: Any) -> None:
        await context.read()
        if message is not None:
            await context.write(message)
            await context.read()

    async def use(connection: GrpcConnection) -> None:
        with pytest.raises(FederationError):
            await connection.upload(b"head", sending([b"x"]))

    with_foreign(lambda method: grpc.stream_stream_rpc_method_handler(answer), use)
