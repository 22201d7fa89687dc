"""The bytes of the WebSocket transport: golden ones, the page's own example, and whatever a stranger may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.errors import ProtocolError
from hansa.transport import FRAME_LIMIT
from hansa.transport.faults import FAULT_LIMIT
from hansa.transport.websocket import framing
from hansa.transport.websocket.framing import (
    LAST_STREAM,
    MESSAGE_LIMIT,
    PIECE,
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
    pieces,
)

GOLDEN: dict[str, Message] = {
    "01 00000001 01": Open(1, Method.SESSION),
    "01 00000002 02": Open(2, Method.CALL),
    "01 00000003 03": Open(3, Method.WATCH),
    "01 00000104 04": Open(260, Method.UPLOAD),
    "01 ffffffff 05": Open(LAST_STREAM, Method.DOWNLOAD),
    "02 00000001 00ff": Data(1, b"\0\xff", last=False),
    "03 00000001": Data(1, b""),
    "03 01020304 6869": Data(0x01020304, b"hi"),
    "04 00000001": End(1),
    "05 00000001 7b7d": Failed(1, b"{}"),
    "06 00000001 00000001": Credit(1, 1),
    "06 00000001 fffefdfc": Credit(1, 0xFFFEFDFC),
    "07 00000001": Cancel(1),
}


@pytest.mark.parametrize(("text", "message"), GOLDEN.items(), ids=GOLDEN)
def test_golden_bytes(text: str, message: Message) -> None:
    assert encode(message) == bytes.fromhex(text)
    assert decode(bytes.fromhex(text)) == message


def test_the_example_of_the_page() -> None:
    page = framing.__doc__ or ""
    lines = page.partition("For example")[2].partition(":\n")[2].split("\n")
    example = [bytes.fromhex(line) for line in lines if line.strip()]
    spoken: list[Message] = [Open(1, Method.CALL), Data(1, b"hi"), Data(1, b"ho"), End(1)]
    assert [decode(each) for each in example] == spoken
    assert [encode(each) for each in spoken] == example


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("text", "a text message came"),
        (b"", "a message of 0 bytes came, and the shortest has 5"),
        (b"\x03\0\0\1", "a message of 4 bytes came"),
        (b"\x03\0\0\0\0", "stream 0"),
        (b"\x00\0\0\0\1", "kind 0 came with 0 bytes"),
        (b"\x08\0\0\0\1hi", "kind 8 came with 2 bytes 6869"),
        (b"\x01\0\0\0\1", "kind 1 came"),
        (b"\x01\0\0\0\1\x00", "kind 1 came"),
        (b"\x01\0\0\0\1\x06", "kind 1 came"),
        (b"\x01\0\0\0\1\x02x", "kind 1 came"),
        (b"\x02\0\0\0\1", "kind 2 came"),
        (b"\x02\0\0\0\1" + bytes(PIECE + 1), f"kind 2 came with {PIECE + 1:,} bytes"),
        (b"\x03\0\0\0\1" + bytes(PIECE + 1), f"kind 3 came with {PIECE + 1:,} bytes"),
        (b"\x04\0\0\0\1x", "kind 4 came"),
        (b"\x05\0\0\0\1" + bytes(FAULT_LIMIT + 1), "kind 5 came"),
        (b"\x06\0\0\0\1\0\0\0\0", "kind 6 came"),
        (b"\x06\0\0\0\1\0\0\1", "kind 6 came"),
        (b"\x07\0\0\0\1x", "kind 7 came"),
    ],
)
def test_what_is_no_message_is_a_protocol_error(data: bytes | str, words: str) -> None:
    with pytest.raises(ProtocolError) as found:
        decode(data)
    assert words in found.value.what


@given(
    st.binary(max_size=40) | st.builds(lambda kind, rest: bytes([kind, 0, 0, 0]) + rest, st.integers(0, 9), st.binary())
)
def test_any_bytes_are_one_message_or_a_protocol_error(data: bytes) -> None:
    try:
        message = decode(data)
    except ProtocolError:
        return
    assert encode(message) == data
    assert len(data) <= MESSAGE_LIMIT


@given(st.integers(0, 5), st.integers(-2, 2))
def test_a_frame_is_the_sum_of_its_pieces(count: int, more: int) -> None:
    frame = bytes(range(251)) * ((count * PIECE + max(more, -count * PIECE)) // 251 + 1)
    frame = frame[: max(0, count * PIECE + more)]
    found = list(pieces(7, frame))
    assert b"".join(piece.content for piece in found) == frame
    assert [piece.last for piece in found] == [False] * (len(found) - 1) + [True]
    assert len(found) == max(1, -(-len(frame) // PIECE))
    assert all(piece.stream == 7 and len(piece.content) <= PIECE for piece in found)
    assert sum(piece.cost for piece in found) == sum(len(encode(piece)) for piece in found)


def test_the_largest_frame_fits_into_what_is_left_of_a_window() -> None:
    """Else who writes waits for credit in the middle of a frame that nobody can read yet."""
    assert sum(piece.cost for piece in pieces(1, bytes(FRAME_LIMIT))) < WINDOW - WINDOW // 4
