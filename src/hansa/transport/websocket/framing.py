"""How many calls share one WebSocket connection: the messages, as bytes. Pure; it must not know who sends them, nor when.

A client in another language can be written from this page, `hansa.transport.faults` (an error is a small JSON object) and
the protocol's own messages, which travel here as opaque *frames* of at most `FRAME_LIMIT` bytes.

**The connection.** A plain WebSocket (RFC 6455) at the path `/`, without extensions. TLS below it shows both sides'
certificates; without TLS, on a loopback address only, who dials says who it is in the header `hansa-peer: role/name`.
Of the two sides one *calls* (an Envoy, a user) and one *serves* (the Director), whichever of them dialled. The subprotocol
says which: who dials asks for `hansa.v1` if it calls, for `hansa.v1.serves` if it serves. A refusal is an HTTP status
from 400 on, with an error as its body.

**A message** is one binary WebSocket message: a byte that says its kind, four bytes with the number of its stream
(big-endian), and its content. Each call is a stream; who calls numbers them 1, 2, 3, ... and never uses a number twice.

    kind        content                 sent by     meaning
    1 OPEN      method byte             the caller  a call begins: 1 session, 2 call, 3 watch, 4 upload, 5 download
    2 PART      bytes, at least one     both        a part of the next frame; more of it follows
    3 DATA      bytes                   both        the last part of a frame, or all of it
    4 END                               both        the caller: nothing follows from here; the service: the call is over
    5 FAILED    an error                the service the call is over, with this error
    6 CREDIT    u32, not 0, big-endian  both        so many more bytes may come
    7 CANCEL                            the caller  the call is over: the caller went away, and reads nothing more

No content is longer than `PIECE` bytes, so that small frames and pings find their way between the parts of large ones.

After its OPEN a caller sends: in a session, frames and END; for a call or a watch, one frame, the question; for a download,
one frame, the head; for an upload, the head, chunks (each a frame) and END. The service sends frames: one to answer a call or
an upload, any number in the others; and ends with END or FAILED, which it may do before the caller is done. A call that
is over is forgotten by whoever ends it as it writes that, and by the other as it reads it; what is still on its way is
ignored. A stream that nobody opened, or more than `STREAMS` at once, is a mistake.

**Who reads slowly holds back who writes.** Each direction of a stream begins with a credit of `WINDOW` bytes. A PART or a
DATA may be sent while the credit is above zero, and takes the length of its whole message off it, header included; so the
last one may take it below. Who has read frames gives their bytes back with CREDIT, no later than when they come to a quarter
of the window. All other messages are free.

**A mistake** ends the connection with the WebSocket status 1002 and a reason: a text message, a message that is none of the
above, a frame without credit, too large, or after the end. Both sides answer pings. A side that hears nothing for 20 s sends
one, and gives the connection up where nothing moves for 10 s more.

For example, the call `hi` and its answer `ho`:

    01 00000001 02
    03 00000001 6869
    03 00000001 686f
    04 00000001
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from hansa.errors import ProtocolError
from hansa.transport.faults import FAULT_LIMIT

WINDOW = 8 * 2**20
"""Bytes of credit that each direction of a stream begins with: more than a frame, and a quarter of the window besides."""

PIECE = 2**17
"""Bytes of content in one message, at most."""

STREAMS = 256
"""Calls under way at once on one connection, at most."""

LAST_STREAM = 2**32 - 1
"""The highest number of a stream; who needs another one dials again."""

_HEADER = struct.Struct(">BI")
_COUNT = struct.Struct(">I")

MESSAGE_LIMIT = _HEADER.size + PIECE
"""Bytes in one message, at most."""


class Method(enum.IntEnum):
    """The five calls of the port."""

    SESSION = 1
    CALL = 2
    WATCH = 3
    UPLOAD = 4
    DOWNLOAD = 5

    @property
    def streams(self) -> bool:
        """Whether the caller sends more than one frame."""
        return self in (Method.SESSION, Method.UPLOAD)


@dataclass(frozen=True, slots=True)
class Open:
    """A call begins.

    Attributes:
        stream: its number, from 1 on.
        method: which of the five.
    """

    stream: int
    method: Method


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of a frame.

    Attributes:
        stream: of its call.
        content: the bytes; of a part that is not the last, a view may do, which saves a copy.
        last: whether the frame ends with it.
    """

    stream: int
    content: bytes | memoryview
    last: bool = True

    @property
    def cost(self) -> int:
        """Bytes that it takes off the credit: never none, else empty frames would go out without end."""
        return _HEADER.size + len(self.content)


@dataclass(frozen=True, slots=True)
class End:
    """Nothing follows from this side; from the service's, the call is over."""

    stream: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The call is over, with an error as `hansa.transport.faults` writes it."""

    stream: int
    fault: bytes


@dataclass(frozen=True, slots=True)
class Credit:
    """So many more bytes may come; from 1 on."""

    stream: int
    count: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """The caller went away."""

    stream: int


Message = Open | Data | End | Failed | Credit | Cancel


def encode(message: Message) -> bytes:
    """A message as it travels."""
    match message:
        case Open(stream, method):
            return _HEADER.pack(1, stream) + bytes([method])
        case Data(stream, content, last):
            return b"".join((_HEADER.pack(3 if last else 2, stream), content))
        case End(stream):
            return _HEADER.pack(4, stream)
        case Failed(stream, fault):
            return _HEADER.pack(5, stream) + fault
        case Credit(stream, count):
            return _HEADER.pack(6, stream) + _COUNT.pack(count)
        case Cancel(stream):
            return _HEADER.pack(7, stream)


def decode(data: bytes | str) -> Message:
    """The message again.

    Args:
        data: from anybody; a text message is `str`.

    Raises:
        ProtocolError: it is none.
    """
    if isinstance(data, str):
        raise ProtocolError("a text message came, where all are binary")
    if len(data) < _HEADER.size:
        raise ProtocolError(f"a message of {len(data)} bytes came, and the shortest has {_HEADER.size}")
    kind, stream = _HEADER.unpack_from(data)
    if stream == 0:
        raise ProtocolError("a message came for stream 0, and they begin with 1")
    if kind == 2 and 0 < len(data) - _HEADER.size <= PIECE:
        return Data(stream, memoryview(data)[_HEADER.size :], last=False)
    content = data[_HEADER.size :]
    match kind:
        case 1 if content in _METHODS:
            return Open(stream, Method(content[0]))
        case 3 if len(content) <= PIECE:
            return Data(stream, content)
        case 4 if not content:
            return End(stream)
        case 5 if len(content) <= FAULT_LIMIT:
            return Failed(stream, content)
        case 6 if len(content) == _COUNT.size and any(content):
            return Credit(stream, *_COUNT.unpack(content))
        case 7 if not content:
            return Cancel(stream)
    raise ProtocolError(
        f"a message of kind {kind} came with {len(content):,} bytes {content[:8].hex()}, which is none",
        hint="compare the versions of both sides",
    )


def pieces(stream: int, frame: bytes) -> Iterator[Data]:
    """A frame as it travels: parts, and the last one."""
    last = max(0, len(frame) - 1) // PIECE * PIECE
    view = memoryview(frame)
    for start in range(0, last, PIECE):
        yield Data(stream, view[start : start + PIECE], last=False)
    yield Data(stream, view[last:] if last else frame)


_METHODS = frozenset(bytes([method]) for method in Method)
