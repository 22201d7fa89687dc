"""Messages between a parent and a child: what goes over, and what a hostile writer cannot make a reader do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.errors import NotConnected, ProtocolError
from hansa.runtime.children.channel import Channel, ParentChannel
from hansa.runtime.children.hansa_child import wire

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_the_bytes_of_a_message() -> None:
    assert wire.encode({"a": [1, "ä"]}) == b'\x00\x00\x00\x0e{"a":[1,"\xc3\xa4"]}'


@given(st.dictionaries(st.text(), VALUES))
def test_a_message_comes_back_as_it_was(message: dict[str, Any]) -> None:
    encoded = wire.encode(message)
    assert wire.length(encoded[:4]) == len(encoded) - 4
    assert wire.decode(encoded[4:]) == message


@pytest.mark.parametrize(
    "text", [r"\ud800", "\\" * 3 + "ud83d", "[" * 100, '"' * 50 + "{" * 50, "," * wire.MOST_VALUES]
)
def test_text_that_looks_like_something_else_is_text(text: str) -> None:
    message = {"text": text, "more": [[0] * 40]}
    assert wire.decode(wire.encode(message)[4:]) == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"a":1}{}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":1,"a":2}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\\\\\uDFFF"}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 33 + b"]" * 33 + b"}",
        b'{"a":[' + b"0," * wire.MOST_VALUES + b"0]}",
        b'{"a":[' + b"[]," * (wire.MOST_VALUES // 2 + 1) + b"0]}",
        b'{"a":"' + b"x" * wire.MOST_BYTES + b'"}',
        '{"a":1}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:12]) + f"*{len(body)}",
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wire.decode(body)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_refused(body: bytes) -> None:
    try:
        message = wire.decode(body)
    except ValueError:
        return
    assert isinstance(message, dict)


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come() -> None:
    assert wire.length(wire.MOST_BYTES.to_bytes(4, "big")) == wire.MOST_BYTES
    with pytest.raises(ValueError, match="16777217 bytes are announced"):
        wire.length((wire.MOST_BYTES + 1).to_bytes(4, "big"))


def endless() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["a"] = inner
    return inner


@pytest.mark.parametrize(
    "message",
    [{"a": float("nan")}, {"a": object()}, {"a": "\ud800"}, endless(), [1], {"a": "x" * wire.MOST_BYTES}],
    ids=["nan", "object", "surrogate", "endless", "list", "large"],
)
def test_either_end_refuses_to_send_what_the_other_would_refuse(message: Any) -> None:
    async def parent(end: socket.socket) -> None:
        channel = ParentChannel(end)
        with pytest.raises(ProtocolError, match="cannot be sent to a child"):
            await channel.send(message)
        channel.close()

    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(ProtocolError, match="cannot be sent to the parent"):
            Channel(theirs.fileno()).send(message)
        asyncio.run(parent(ours))


def test_the_ends_speak_with_each_other() -> None:
    ours, theirs = socket.socketpair()
    child = Channel(theirs.detach())

    def echo() -> None:
        while (message := child.receive()) is not None:
            child.send(message)
        child.close()

    async def parent() -> list[dict[str, Any]]:
        channel = ParentChannel(ours)
        large = {"large": "ä" * 3_000_000}
        sending = asyncio.create_task(channel.send(large))  # more than the socket holds: both must wait for each other
        came = [await channel.receive()]
        await sending
        await channel.send({"second": 2})
        came.append(await channel.receive())
        assert came == [large, {"second": 2}]
        ours.shutdown(socket.SHUT_WR)
        rest = [each async for each in channel]
        channel.close()
        return rest

    thread = threading.Thread(target=echo)
    thread.start()
    assert asyncio.run(parent()) == []
    thread.join()


@pytest.mark.parametrize(
    ("sent", "torn"),
    [(b"\x00\x00", True), (frame(b"{}")[:-1], True), (frame(b"[]"), False), (b"\xff\xff\xff\xff", False)],
)
def test_after_what_is_no_message_nothing_is_understood(sent: bytes, torn: bool) -> None:
    async def parent() -> None:
        channel = ParentChannel(ours)
        assert await channel.receive() == {"good": 1}
        for _ in range(2):
            with pytest.raises(ProtocolError, match="sent what is no message"):
                await channel.receive()
        assert channel.torn is torn
        channel.close()

    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(wire.encode({"good": 1}) + sent)
    asyncio.run(parent())


def test_nothing_is_read_before_somebody_asks() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    def fill() -> int:
        count = 0
        try:
            while True:
                count += theirs.send(wire.encode({"x": "y" * 1000}))
        except BlockingIOError:
            return count

    async def parent() -> None:
        channel = ParentChannel(ours)
        assert fill() > 0
        await channel.receive()
        assert len(channel._came) <= 2**16
        fill()
        for _ in range(3):
            await asyncio.sleep(0)
        assert fill() == 0, "the writer has to wait"
        channel.close()

    with theirs:
        asyncio.run(parent())


def test_a_cancelled_receive_loses_nothing() -> None:
    async def parent() -> None:
        channel = ParentChannel(ours)
        encoded = wire.encode({"a": 1})
        for part in (encoded[:2], encoded[2:7]):
            theirs.sendall(part)
            receiving = asyncio.create_task(channel.receive())
            for _ in range(5):
                await asyncio.sleep(0)
            receiving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receiving
        theirs.sendall(encoded[7:])
        assert await channel.receive() == {"a": 1}
        channel.close()

    ours, theirs = socket.socketpair()
    with theirs:
        asyncio.run(parent())


def test_a_cancelled_send_does_not_tear_a_message() -> None:
    large = {"large": "x" * 4_000_000}

    async def parent() -> None:
        channel = ParentChannel(ours)
        sending = asyncio.create_task(channel.send(large))
        for _ in range(5):
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        thread.start()
        await channel.send({"small": 1})
        channel.close()

    ours, theirs = socket.socketpair()
    child = Channel(theirs.detach())
    came: list[dict[str, Any] | None] = []
    thread = threading.Thread(target=lambda: came.extend(child.receive() for _ in range(3)))
    asyncio.run(parent())
    thread.join()
    child.close()
    assert came == [large, {"small": 1}, None]


def test_the_last_words_arrive_although_nobody_listens_there_any_more() -> None:
    async def parent() -> None:
        channel = ParentChannel(ours)
        with pytest.raises(NotConnected):
            await channel.send({"a": 1})
        assert await channel.receive() == {"last": "words"}
        assert await channel.receive() is None
        channel.close()

    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(wire.encode({"last": "words"}))
    asyncio.run(parent())


def test_closing_wakes_whoever_waits() -> None:
    async def parent() -> None:
        channel = ParentChannel(ours)
        receiving = asyncio.create_task(channel.receive())
        for _ in range(5):
            await asyncio.sleep(0)
        channel.close()
        assert await receiving is None
        channel.close()

    ours, theirs = socket.socketpair()
    with theirs:
        asyncio.run(parent())


def test_a_child_sees_that_its_parent_is_gone() -> None:
    ours, theirs = socket.socketpair()
    child = Channel(theirs.detach())
    ours.sendall(frame(b'{"a":1}') + b"\x00")
    ours.close()
    assert child.receive() == {"a": 1}
    assert child.receive() is None
    with pytest.raises(NotConnected, match="parent process is gone"):
        child.send({"a": 1})
    child.close()


def test_a_child_refuses_what_is_no_message() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        child = Channel(os.dup(theirs.fileno()))
        theirs.close()
        ours.sendall(frame(b"[]"))
        with pytest.raises(ProtocolError, match="no object"):
            child.receive()
        child.close()


def test_json_agrees_with_the_standard_library_on_ordinary_messages() -> None:
    message = {"round": 3, "loss": 0.25, "names": ["a", "b"], "nothing": None}
    assert json.loads(wire.encode(message)[4:]) == message
