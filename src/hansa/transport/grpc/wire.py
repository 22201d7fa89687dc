"""What both ends of a gRPC connection agree on: names, marks and limits.

The service `hansa.v1.Federation` has five methods, whose messages are raw bytes:

    Call      frame                            -> frame
    Watch     frame                            -> frame ...
    Download  head                             -> chunk ...
    Session   0x00 frame, ..., (empty)         -> 0x00 frame, ..., (empty) or 0x01 error
    Upload    head, chunk, ..., (empty)        -> 0x00 frame or 0x01 error

What a client streams ends with an empty message, because grpc.aio shows a server the same end of a stream whether its client
finished, was killed, or sent too large a message (grpcio 1.85: `context.read()` gives EOF in all three). In a session each
frame has a byte before it, since a frame may be empty; in an upload chunks stay as they are, and empty ones are left out.

Where a client streams, what ends the call is a message too, and the server waits for the client to take note before it ends
the call itself: a write that meets a call which has just ended makes grpc.aio forget the status that it ended with
(`_write` in `grpc/aio/_call.py` puts INTERNAL in its place). Elsewhere an error travels in the trailing metadata. How an
error is written: `hansa.transport.faults`. This file must not know who serves or dials.
"""

from __future__ import annotations

from typing import Any

from hansa.errors import MissingExtra
from hansa.transport.address import Address
from hansa.transport.port import FRAME_LIMIT

SERVICE = "hansa.v1.Federation"

FAULT = "hansa-fault-bin"
"""Metadata key of an error; "-bin" lets gRPC carry any bytes."""

PEER = "hansa-peer"
"""Metadata key of who calls, `role/name`, where there is no TLS to say it."""

END, FRAME, FAILED = b"", b"\0", b"\1"
"""The marks: a stream ends, a frame follows, an error follows."""

PING, PONG = 20_000, 10_000
"""Milliseconds between keep-alive pings, and those to wait for an answer before a connection counts as broken."""

CONNECT = 10_000
"""Milliseconds that dialling and shaking hands may take."""


def load() -> Any:
    """The module `grpc`, with its asyncio part.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import grpc
        import grpc.aio
    except ImportError as missing:
        raise MissingExtra.of("grpcio", "federation", "a connection between machines") from missing
    return grpc


def method(name: str) -> str:
    """A method's full name on the wire."""
    return f"/{SERVICE}/{name}"


def server_options() -> list[tuple[str, object]]:
    """How a server's channels behave."""
    return [
        *_shared(),
        ("grpc.so_reuseport", 0),  # else two servers share a port in silence
        ("grpc.http2.min_ping_interval_without_data_ms", PING // 2),
        ("grpc.server_handshake_timeout_ms", 2 * CONNECT),
        ("grpc.max_concurrent_streams", 256),
    ]


def client_options(address: Address, server_name: str) -> list[tuple[str, object]]:
    """How a client's channel behaves: who dials again, and when, is for the caller to decide, not for gRPC."""
    options: list[tuple[str, object]] = [
        *_shared(),
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.min_reconnect_backoff_ms", CONNECT),  # in truth the time that one attempt may take
    ]
    if address.loopback:
        options.append(("grpc.enable_http_proxy", 0))
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options


def _shared() -> list[tuple[str, object]]:
    return [
        ("grpc.max_receive_message_length", FRAME_LIMIT + len(FRAME)),
        ("grpc.max_send_message_length", FRAME_LIMIT + len(FRAME)),
        ("grpc.keepalive_time_ms", PING),
        ("grpc.keepalive_timeout_ms", PONG),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
