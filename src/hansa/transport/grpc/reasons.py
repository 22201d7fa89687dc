"""Why a call over gRPC failed, in our own terms. This file must not know which call it was.

gRPC tells in words what its status codes do not; they were read off grpcio 1.85. Where they change, the class of the error
stays right, and only the hint gets less precise.
"""

from __future__ import annotations

from typing import Any

from hansa.errors import FederationError, HansaError, NotConnected, ProtocolError
from hansa.transport.faults import decoded, internal
from hansa.transport.grpc import wire

_NOT_GRPC = (
    "it does not speak gRPC",
    "check the port; an address of WebSockets is written with a scheme, wss://host:port",
)
_REASONS = (
    ("Hostname Verification", "its certificate is for another name", "dial the name that its certificate is for"),
    ("not in peer certificate", "its certificate is for another name", "dial the name that its certificate is for"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not valid, or of another authority",
        "compare the authority's certificate with the one in your invitation",
    ),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS", "check the port, and whether the server runs without TLS"),
    ("handshake failed", "the two could not agree on a secure connection", "look at the other side's log"),
    ("missing selected ALPN", *_NOT_GRPC),
    ("Connection refused", "nothing listens there", "check that the server runs, and at which address"),
    ("resolving", "the host's name is not known", "check the address"),
    ("lookup", "the host's name is not known", "check the address"),
    ("imeout", "it does not answer", "check the address, and firewalls on the way"),
    ("timed out", "it does not answer", "check the address, and firewalls on the way"),
    (
        "Socket closed",
        "it closed the connection before it was secured, most likely because it refuses this client's certificate",
        "check that your certificate is not expired, and of its authority",
    ),
)
"""(what gRPC says of a failed attempt to connect, what it means, what to do)."""


def reason(error: Any, address: str, deadline: float, *, secure: bool = True) -> HansaError:
    """The error for an `AioRpcError`: the service's own one, or what went wrong on the way; `secure` says, with TLS."""
    for key, value in error.trailing_metadata() or ():
        if key == wire.FAULT:
            return decoded(value if isinstance(value, bytes) else b"")
    code, said = error.code().name, error.details() or ""
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in said:
        return ProtocolError("a message is too large for the other side", where=address, hint="send it in chunks")
    if code == "UNIMPLEMENTED":
        return ProtocolError(
            f"the other side does not speak {wire.SERVICE}", where=address, hint="compare the versions of both sides"
        )
    if code == "DEADLINE_EXCEEDED":
        return NotConnected(f"no answer within {deadline:g} s", where=address, hint="try again; the server may be busy")
    if code == "UNAUTHENTICATED":  # gRPC's own word for a certificate without any host, such as an Envoy's
        return NotConnected(
            f"cannot connect to {address}: its certificate is for another name",
            where=address,
            hint="dial the name that its certificate is for",
        )
    if code == "UNKNOWN":
        return internal()
    if code in ("UNAVAILABLE", "CANCELLED", "INTERNAL", "DATA_LOSS", "RESOURCE_EXHAUSTED"):
        return _unreachable(said, address, secure=secure)
    return FederationError(f"the call failed ({code.lower()})", where=address, hint="look at the other side's log")


def _unreachable(said: str, address: str, *, secure: bool) -> NotConnected:
    if not ("failed to connect" in said or "resolving" in said):
        return NotConnected("the connection broke", where=address, hint="try again")
    for words, meaning, hint in _REASONS:
        if words in said:
            if words == "Socket closed" and not secure:
                meaning, hint = _NOT_GRPC
            return NotConnected(f"cannot connect to {address}: {meaning}", where=address, hint=hint)
    return NotConnected(
        f"cannot connect to {address}", where=address, hint="check the address, and that the server runs"
    )
