"""What travels over WebSocket, looked at from one end with a client or a server that is not ours, or that breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

from hansa.errors import FederationError, HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer, Role
from hansa.testing.stages import METHODS, Scripted, Trace, noticed, sending, used
from hansa.transport import FRAME_LIMIT
from hansa.transport.faults import decoded, encoded
from hansa.transport.websocket import WebSocketConnection, WebSocketListener, wire
from hansa.transport.websocket.framing import (
    MESSAGE_LIMIT,
    PIECE,
    STREAMS,
    WINDOW,
    Cancel,
    Credit,
    Data,
    End,
    Failed,
    Message,
    Method,
    Open,
    decode,
    encode,
)

HOST = "ws://127.0.0.1:0"
ALPHA = Peer("alpha", Role.ENVOY)
WHO = {wire.PEER: "envoy/alpha"}


def foreign(address: str, **options: Any) -> connect:
    """A client that is not ours."""
    options = {"subprotocols": [wire.CALLS], "additional_headers": WHO, "compression": None, **options}
    return connect(address, proxy=None, max_size=None, **options)


def with_server(service: Scripted, use: Callable[[str, WebSocketConnection, Any], Awaitable[None]]) -> None:
    """A server, our own client, and a client that is not ours."""

    async def run() -> None:
        listener = WebSocketListener(service, HOST, insecure=True)
        address = await listener.start()
        async with WebSocketConnection(address, insecure=ALPHA) as own, foreign(address) as socket:
            await use(address, own, socket)
        await listener.stop()

    asyncio.run(run())


async def say(socket: Any, *messages: Message) -> None:
    for message in messages:
        await socket.send(encode(message))


async def hear(socket: Any) -> Message:
    return decode(await socket.recv())


async def closed(socket: Any) -> tuple[int, str]:
    """How the other side ended the connection, after whatever it still said."""
    await asyncio.gather(_all(socket), return_exceptions=True)
    return socket.close_code, socket.close_reason


async def _all(socket: Any) -> None:
    while True:
        await socket.recv()


def test_a_conversation_in_bytes() -> None:
    async def use(_: str, __: WebSocketConnection, socket: Any) -> None:
        for sent, received in (
            ("01 00000001 02", ""),
            ("03 00000001 6869", "03 00000001 6869"),  # Call
            ("", "04 00000001"),
            ("01 00000002 01", ""),
            ("02 00000002 68", ""),
            ("03 00000002 69", "03 00000002 6869"),  # Session
            ("03 00000002", "03 00000002"),
            ("04 00000002", "04 00000002"),
            ("01 00000005 04", ""),  # numbers may be left out
            ("03 00000005 68656164", ""),
            ("03 00000005 6368756e6b", ""),
            ("04 00000005", "03 00000005 342035"),  # Upload
            ("", "04 00000005"),
        ):
            if sent:
                await socket.send(bytes.fromhex(sent))
            if received:
                assert (await socket.recv()).hex() == received.replace(" ", "")

    with_server(Scripted(), use)


BROKEN: dict[str, tuple[list[Message | bytes | str], str]] = {
    "text": (["hello"], "a text message came, where all are binary"),
    "garbage": ([b"\xff" * 20], "a message of kind 255 came"),
    "empty": ([b""], "a message of 0 bytes came"),
    "nobody's stream": ([Data(1, b"x")], "a message came for stream 1, which nobody opened"),
    "a stream to come": ([Open(1, Method.SESSION), End(2)], "a message came for stream 2, which nobody opened"),
    "twice": ([Open(3, Method.SESSION), Open(3, Method.CALL)], "a call came as stream 3 after stream 3"),
    "backwards": ([Open(3, Method.SESSION), Open(2, Method.CALL)], "a call came as stream 2 after stream 3"),
    "too many": ([Open(n, Method.SESSION) for n in range(1, STREAMS + 2)], f"more than {STREAMS} calls came at once"),
    "after the end": (
        [Open(1, Method.SESSION), End(1), Data(1, b"x")],
        "a frame came for stream 1 after its end",
    ),
    "two questions": ([Open(1, Method.WATCH), Data(1, b"x"), Data(1, b"x")], "a frame came for stream 1 after its end"),
    "ended twice": ([Open(1, Method.SESSION), End(1), End(1)], "an end came for stream 1 after its end"),
    "ended in a frame": (
        [Open(1, Method.SESSION), Data(1, b"x", last=False), End(1)],
        "an end came for stream 1 in a frame",
    ),
    "a service's": ([Open(1, Method.SESSION), Failed(1, b"{}")], "a FAILED came from the wrong side"),
    "too large": (
        [Open(1, Method.SESSION), *[Data(1, bytes(PIECE), last=False)] * (FRAME_LIMIT // PIECE), Data(1, b"x")],
        "a frame came for stream 1 that is too large",
    ),
    "without credit": (
        [Open(1, Method.SESSION), *[Data(1, bytes(PIECE))] * (WINDOW // PIECE + 1)],
        "a frame came for stream 1 without credit",
    ),
    "empty without credit": (
        [Open(1, Method.SESSION), *[Data(1, bytes(PIECE))] * (WINDOW // PIECE), Data(1, b""), Data(1, b"")],
        "a frame came for stream 1 without credit",
    ),
}


@pytest.mark.parametrize(("messages", "words"), BROKEN.values(), ids=BROKEN)
def test_a_client_s_mistake_ends_its_connection_with_a_reason_and_hurts_nobody_else(
    messages: list[Message | bytes | str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    trace = Trace()

    async def session(peer: Peer, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if peer.name == "mallory":
            with trace:
                await asyncio.Event().wait()
        async for frame in frames:
            yield frame

    async def watch(*_: object) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def use(address: str, own: WebSocketConnection, bystander: Any) -> None:
        await say(bystander, Open(1, Method.SESSION), Data(1, b"before"))
        assert await hear(bystander) == Data(1, b"before")
        stream = own.session(sending([b"one"], then=asyncio.Event()))
        assert await anext(stream) == b"one"
        pending = asyncio.ensure_future(anext(stream))
        async with foreign(address, additional_headers={wire.PEER: "envoy/mallory"}) as socket:
            for message in messages:
                await socket.send(message if isinstance(message, bytes | str) else encode(message))
            code, reason = await closed(socket)
        assert code == 1002
        assert reason.startswith(words)
        if trace.begun.is_set():
            await noticed(trace, "a service notices that its caller's connection was ended")
        assert not pending.done()
        assert await own.call(b"still") == b"still"
        await say(bystander, Data(1, b"after"))
        assert await hear(bystander) == Data(1, b"after")
        pending.cancel()
        assert any(words in record.getMessage() for record in caplog.records)

    with_server(Scripted(session=session, watch=watch), use)


def test_a_message_that_is_larger_than_any_ends_the_connection() -> None:
    async def use(address: str, own: WebSocketConnection, _: Any) -> None:
        async with foreign(address) as socket:
            await socket.send(bytes(MESSAGE_LIMIT + 1))
            assert (await closed(socket))[0] == 1009
        async with foreign(address) as socket:
            await socket.send(encode(Open(1, Method.CALL)))
            await socket.send(encode(Data(1, bytes(PIECE))))  # as large as may be
            assert await hear(socket) == Data(1, bytes(PIECE))
        assert await own.call(b"still") == b"still"

    with_server(Scripted(), use)


def test_what_crosses_the_end_of_its_call_is_ignored() -> None:
    async def early(_: Peer, __: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        return await anext(chunks)

    async def use(_: str, __: WebSocketConnection, socket: Any) -> None:
        await say(socket, Open(1, Method.UPLOAD), Data(1, b"head"), Data(1, b"enough"))
        assert [await hear(socket), await hear(socket)] == [Data(1, b"enough"), End(1)]
        await say(socket, Data(1, b"more"), Credit(1, 5), End(1), Cancel(1), Open(2, Method.CALL), Data(2, b"hi"))
        assert [await hear(socket), await hear(socket)] == [Data(2, b"hi"), End(2)]

    with_server(Scripted(upload=early), use)


def test_a_call_without_its_question_and_a_head_that_is_too_large_are_answered_with_an_error() -> None:
    async def use(_: str, __: WebSocketConnection, socket: Any) -> None:
        for number, (method, messages, words) in enumerate(
            [
                (Method.CALL, [], "a call came without its question"),
                (Method.UPLOAD, [], "a call came without its question"),
                (Method.DOWNLOAD, [Data(0, bytes(PIECE))], "a frame of 131,072 bytes is too large: at most 65,536"),
            ],
            1,
        ):
            await say(socket, Open(number, method), *(Data(number, each.content) for each in messages))
            if not messages:
                await say(socket, End(number))
            answer = await hear(socket)
            assert isinstance(answer, Failed)
            error = decoded(answer.fault)
            assert isinstance(error, ProtocolError)
            assert error.what.startswith(words)

    with_server(Scripted(), use)


def test_a_client_without_credit_to_give_is_sent_one_window_and_no_more() -> None:
    written = 0

    async def flood(*_: object) -> AsyncIterator[bytes]:
        nonlocal written
        while True:
            written += 1
            yield bytes(PIECE)

    async def use(_: str, own: WebSocketConnection, socket: Any) -> None:
        await say(socket, Open(1, Method.DOWNLOAD), Data(1, b""))
        cost = Data(1, bytes(PIECE)).cost
        for _number in range(-(-WINDOW // cost)):
            assert await hear(socket) == Data(1, bytes(PIECE))
        for _number in range(50):
            await own.call(b"x")
        before = written
        await say(socket, Open(2, Method.CALL), Data(2, b"hi"))  # nothing of the flood comes in between
        assert [await hear(socket), await hear(socket)] == [Data(2, b"hi"), End(2)]
        assert written == before
        await say(socket, Credit(1, 2 * cost))
        assert [await hear(socket) for _number in range(2)] == [Data(1, bytes(PIECE))] * 2

    with_server(Scripted(download=flood), use)


def test_a_caller_that_begins_calls_and_reads_nothing_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hansa.transport.websocket.serving._WAITING", 8)

    async def big(_: Peer, __: bytes) -> bytes:
        return bytes(FRAME_LIMIT)

    async def use(address: str, own: WebSocketConnection, _: Any) -> None:
        async with foreign(address, max_queue=1) as socket:
            for number in range(1, 12):
                await say(socket, Open(number, Method.CALL), Data(number, b""))
            await closed(socket)
        assert "begins calls, and reads nothing" in caplog.text
        assert await own.call(b"still") == bytes(FRAME_LIMIT)

    with_server(Scripted(call=big), use)


@pytest.mark.parametrize(
    ("headers", "subprotocols", "status", "words"),
    [
        (WHO, None, 426, "here listens Hansa, which speaks the WebSocket subprotocol hansa.v1"),
        (WHO, ["graphql-ws"], 426, "here listens Hansa"),
        (WHO, [wire.SERVES], 400, "here listens a Director, which does not take another one"),
        ({**WHO, "Origin": "https://evil.example"}, [wire.CALLS], 403, "this is no place for web pages"),
    ],
)
def test_who_is_no_client_of_ours_is_refused_with_a_reason(
    headers: dict[str, str], subprotocols: list[Any], status: int, words: str
) -> None:
    async def use(address: str, own: WebSocketConnection, _: Any) -> None:
        with pytest.raises(InvalidStatus) as found:
            await foreign(address, additional_headers=headers, subprotocols=subprotocols)
        assert found.value.response.status_code == status
        assert decoded(bytes(found.value.response.body)).what.startswith(words)
        assert await own.call(b"still") == b"still"

    with_server(Scripted(), use)


# --- a server that is not ours


async def failure(handler: Callable[[ServerConnection], Awaitable[None]], method: str = "call") -> HansaError:
    """What our client makes of it."""
    async with serve(handler, "127.0.0.1", 0, subprotocols=[wire.CALLS], compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with WebSocketConnection(f"ws://127.0.0.1:{port}", insecure=ALPHA) as connection:
            with pytest.raises(HansaError) as found:
                await used(connection, method, sent=sending([b"x"], then=asyncio.Event()))
    return found.value


WRONG: dict[str, tuple[list[Message | bytes | str], str]] = {
    "text": (["hello"], "a text message came"),
    "garbage": ([b"\0" * 9], "stream 0"),
    "nobody's stream": ([Data(2, b"x")], "a message came for stream 2, which nobody opened"),
    "a call": ([Open(1, Method.CALL)], "a call came, from the side that serves"),
    "a caller's": ([Cancel(1)], "a CANCEL came from the wrong side"),
    "no answer": ([End(1)], "a call was not answered once"),
    "two answers": ([Data(1, b"x"), Data(1, b"y"), End(1)], "a call was not answered once"),
    "half an answer": ([Data(1, b"x", last=False), End(1)], "an end came for stream 1 in a frame"),
    "oversize": ([bytes(MESSAGE_LIMIT + 1)], "a message came that is too large"),
}


@pytest.mark.parametrize(("messages", "words"), WRONG.values(), ids=WRONG)
def test_a_server_s_mistake_is_a_protocol_error(messages: list[Message | bytes | str], words: str) -> None:
    async def handler(socket: ServerConnection) -> None:
        assert await hear(socket) == Open(1, Method.CALL)
        for message in messages:
            await socket.send(message if isinstance(message, bytes | str) else encode(message))
        await socket.wait_closed()

    error = asyncio.run(failure(handler))
    assert type(error) is ProtocolError
    assert words in error.what


def test_an_error_that_cannot_be_read_is_one_all_the_same() -> None:
    async def handler(socket: ServerConnection) -> None:
        assert await hear(socket) == Open(1, Method.CALL)
        await say(socket, Failed(1, b"\xff"))
        await socket.wait_closed()

    assert type(asyncio.run(failure(handler))) is FederationError


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["closed", "closed for a mistake", "cut"])
def test_a_server_that_goes_away_is_told_apart_from_one_that_ends(method: str, how: str) -> None:
    async def handler(socket: ServerConnection) -> None:
        assert isinstance(await hear(socket), Open)
        await say(socket, Data(1, b"some"))
        if how == "cut":
            socket.transport.abort()
        else:
            await socket.close(1000 if how == "closed" else 1002, "enough\x1b of it")

    error = asyncio.run(failure(handler, method))
    assert type(error) is (ProtocolError if how == "closed for a mistake" else NotConnected)
    expected = "the connection broke" if how == "cut" else "the other side ended the connection: enough of it"
    assert error.what == expected


def test_a_client_dials_again_after_the_connection_broke_and_all_wait_for_one_attempt() -> None:
    async def run() -> None:
        dialled = 0

        async def handler(socket: ServerConnection) -> None:
            nonlocal dialled
            dialled += 1
            while True:
                message = await hear(socket)
                if isinstance(message, Data):
                    if message.content == b"break":
                        socket.transport.abort()
                        return
                    await say(socket, message, End(message.stream))

        async with serve(handler, "127.0.0.1", 0, subprotocols=[wire.CALLS]) as server:
            port = server.sockets[0].getsockname()[1]
            async with WebSocketConnection(f"ws://127.0.0.1:{port}", insecure=ALPHA) as connection:
                assert await asyncio.gather(*(connection.call(b"%d" % n) for n in range(300))) == [
                    b"%d" % n for n in range(300)
                ]
                assert dialled == 1
                with pytest.raises(NotConnected, match="the connection broke"):
                    await connection.call(b"break")
                assert await connection.call(b"again") == b"again"
                assert dialled == 2

    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # of the test's own handler
    asyncio.run(run())


def test_a_connection_whose_numbers_are_used_up_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hansa.transport.websocket.link.LAST_STREAM", 2)
    names: list[str] = []

    async def call(peer: Peer, frame: bytes) -> bytes:
        names.append(peer.name)
        return frame

    async def use(_: str, own: WebSocketConnection, __: Any) -> None:
        stream = own.session(sending([b"one"], then=asyncio.Event()))
        assert await anext(stream) == b"one"
        assert [await own.call(b"%d" % n) for n in range(5)] == [b"%d" % n for n in range(5)]
        pending = asyncio.ensure_future(anext(stream))
        await own.call(b"x")
        assert not pending.done()
        await own.close()
        with pytest.raises(NotConnected, match="this connection was closed"):
            await pending

    with_server(Scripted(call=call), use)
    assert names == ["alpha"] * 6


def test_a_call_that_takes_too_long_is_not_connected_and_its_service_notices() -> None:
    trace = Trace()

    async def endure(*_: object) -> bytes:
        with trace:
            await asyncio.Event().wait()
        return b""

    async def use(address: str, _: WebSocketConnection, __: Any) -> None:
        async with WebSocketConnection(address, insecure=ALPHA, deadline=0.05) as hasty:
            with pytest.raises(NotConnected, match=r"no answer within 0.05 s"):
                await hasty.call(b"x")
            await noticed(trace, "the service notices")

    with_server(Scripted(call=endure), use)


def test_an_error_crosses_in_its_own_bytes() -> None:
    async def fail(*_: object) -> bytes:
        raise NotConnected("wait", where="here", hint="later")

    async def use(_: str, __: WebSocketConnection, socket: Any) -> None:
        await say(socket, Open(1, Method.CALL), Data(1, b""))
        assert await hear(socket) == Failed(1, encoded(NotConnected("wait", where="here", hint="later")))

    with_server(Scripted(call=fail), use)
