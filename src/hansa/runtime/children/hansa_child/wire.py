"""Messages between a parent and its child: JSON objects behind four bytes of length, and the child's end of the channel.

The reader of a message is the parent, its writer possibly hostile. So what a message may cost is bounded before it is parsed:
its bytes, its nesting, the number of its values. This file must not know what messages say. It runs in the child before Hansa
can be imported, so it finds its errors only when it raises one.
"""

from __future__ import annotations

import json
import os
import re
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from typing import Any, NoReturn, Self

MOST_BYTES = 16 * 2**20
"""Of one message, without its length."""
MOST_VALUES = 2**18
"""Values in one message: a list of a few bytes takes a hundred in memory."""
MOST_NESTING = 32
HEADER = 4
"""Bytes of a message's length, big-endian."""

_STRING = rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"'
_BRACKET = rb"[\[{\]}]"
_SURROGATE = rb"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]"
"""Compiled when a message first needs it, which takes a millisecond that few children ever spend."""


def encode(message: dict[str, Any]) -> bytes:
    """The message with its length in front.

    Raises:
        ValueError: it is no JSON object, holds NaN or an infinity, or is beyond what a message may be.
        TypeError: it holds what JSON has no word for.
    """
    if not isinstance(message, dict):
        raise TypeError(f"a message is a dict, not a {type(message).__name__}")
    try:
        body = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply, or holds itself") from None
    _bounded(body)
    return len(body).to_bytes(HEADER, "big") + body


def decode(body: bytes) -> dict[str, Any]:
    """The message whose JSON these bytes are.

    Raises:
        ValueError: they are not one JSON object in strict UTF-8, or beyond what a message may be.
    """
    _bounded(body)
    if b"\\u" in body and re.search(_SURROGATE, body):
        raise ValueError("it holds escaped surrogates, which no text in UTF-8 can")
    try:
        message = json.loads(
            body.decode("utf-8"), parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_no_key_twice
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError(f"it is no object but a {type(message).__name__}")  # noqa: TRY004 - the sender's mistake
    return message


def length(header: bytes) -> int:
    """How many bytes follow these four.

    Raises:
        ValueError: too many.
    """
    announced = int.from_bytes(header, "big")
    if announced > MOST_BYTES:
        raise ValueError(f"{announced} bytes are announced, and a message has {MOST_BYTES} at most")
    return announced


def _bounded(body: bytes) -> None:
    if len(body) > MOST_BYTES:
        raise ValueError(f"it has {len(body)} bytes, and a message has {MOST_BYTES} at most")
    if body.count(b"[") + body.count(b"{") <= MOST_NESTING and body.count(b",") <= MOST_VALUES - MOST_NESTING:
        return
    bare = re.sub(_STRING, b"", body)
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES} values")
    depth = 0
    for bracket in re.findall(_BRACKET, bare):
        depth += 1 if bracket in b"[{" else -1
        if depth > MOST_NESTING:
            raise ValueError(f"it is nested more than {MOST_NESTING} deep")


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, which is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("it holds a number that is too large")
    return number


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("it holds a key twice")
    return table


class Channel:
    """The child's end: blocking, and safe to send on from several threads.

    Args:
        descriptor: of a connected stream socket; the channel owns it from now on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._read: Callable[[int], bytes] = lambda count: os.read(descriptor, count)
        self._write: Callable[[memoryview], int] = lambda data: os.write(descriptor, data)
        self._close: Callable[[], None] = lambda: os.close(descriptor)
        self._sending, self._receiving = allocate_lock(), allocate_lock()

    @classmethod
    def over(cls, end: socket) -> Self:
        """One over a socket: a descriptor is one only on systems where all things are files."""
        channel = cls(end.fileno())
        channel._read, channel._write, channel._close = end.recv, end.send, end.close
        return channel

    def send(self, message: dict[str, Any]) -> None:
        """Hand a message over; waits while the parent is not reading.

        Raises:
            ProtocolError: it cannot be a message; see `encode`. Nothing was sent.
            NotConnected: the parent is gone.
        """
        try:
            rest = memoryview(encode(message))
        except (TypeError, ValueError) as error:
            raise _errors().ProtocolError(
                f"this cannot be sent to the parent process: {error}",
                hint="send small JSON objects, and models as files by their path",
            ) from error
        with self._sending:
            try:
                while rest:
                    rest = rest[self._write(rest) :]
            except ConnectionError as error:
                raise _errors().NotConnected("the parent process is gone") from error

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the parent is gone.

        Raises:
            ProtocolError: the parent sent what is no message.
        """
        with self._receiving:
            header = self._exactly(HEADER)
            if header is None:
                return None
            try:
                body = self._exactly(length(header))
                return None if body is None else decode(body)
            except ValueError as error:
                raise _errors().ProtocolError(f"the parent process sent what is no message: {error}") from error

    def close(self) -> None:
        """Let the parent see the end."""
        self._close()

    def _exactly(self, count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            try:
                part = self._read(min(count - len(parts), 2**20))
            except ConnectionError:
                return None
            if not part:
                return None
            parts += part
        return bytes(parts)


def _errors() -> Any:
    from hansa import errors  # only here: where this file is loaded, Hansa cannot be imported yet

    return errors
