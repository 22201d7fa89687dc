"""The messages of a WebSocket that carries many calls, as docs/protocol.md has them: (kind, stream, content, method)."""

from __future__ import annotations

import struct

KINDS = {1: "OPEN", 2: "PART", 3: "DATA", 4: "END", 5: "FAILED", 6: "CREDIT", 7: "CANCEL"}
METHODS = {1: "session", 2: "call", 3: "watch", 4: "upload", 5: "download"}
WINDOW, PIECE = 8 * 2**20, 128 * 2**10

Message = tuple[str, int, bytes, str]


class BadMessage(Exception):
    """Bytes that are none of these."""


def encode(kind: str, stream: int, content: bytes = b"", method: str = "") -> bytes:
    """A message as bytes; `method` is for OPEN alone."""
    number = next(number for number, name in KINDS.items() if name == kind)
    opens = bytes(number for number, name in METHODS.items() if name == method)
    return struct.pack(">BI", number, stream) + opens + content


def decode(data: bytes) -> Message:
    """Bytes as a message."""
    kind, stream = KINDS.get(data[0] if data else 0, ""), int.from_bytes(data[1:5], "big")
    content, method = data[5:], ""
    if kind == "OPEN":
        method, content = METHODS.get(content[0] if content else 0, ""), content[1:]
    wrong = (
        (kind == "OPEN" and not method)
        or (kind in ("OPEN", "END", "CANCEL") and content)
        or (kind == "PART" and not content)
        or len(content) > PIECE
        or (kind == "CREDIT" and (len(content) != 4 or not any(content)))
    )
    if not kind or not stream or len(data) < 5 or wrong:
        raise BadMessage(data[:20].hex())
    return kind, stream, content, method
