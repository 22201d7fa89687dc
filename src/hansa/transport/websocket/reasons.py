"""Why a WebSocket did not come to be, or is over, in our own terms. This file must not know what travelled on it."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxy,
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
    ProxyError,
)

from hansa.errors import HansaError, NotConnected, ProtocolError
from hansa.transport.faults import decoded, encoded
from hansa.transport.tls import HTTP

_MISTAKES = frozenset({1002, 1003, 1007, 1009})
"""WebSocket's status codes that blame whoever is told them (RFC 6455, 7.4.1)."""

_TRY = "try again"


def again(error: HansaError) -> HansaError:
    """The same error once more, as each of those who wait raises one of its own."""
    return decoded(encoded(error))


def ended(closed: ConnectionClosed) -> HansaError:
    """Why an open connection is over."""
    theirs, own = closed.rcvd, closed.sent
    if theirs is not None and (own is None or closed.rcvd_then_sent):
        said = "".join(letter for letter in theirs.reason if letter.isprintable())
        if theirs.code in _MISTAKES:
            return ProtocolError(f"the other side ended the connection: {said or theirs.code}")
        return NotConnected(f"the other side ended the connection{': ' if said else ''}{said}", hint=_TRY)
    if own is not None and own.code == 1009:
        return ProtocolError("a message came that is too large", hint="compare the versions of both sides")
    if own is not None and own.code in _MISTAKES:
        return ProtocolError("what came is not a WebSocket's", hint="compare the versions of both sides")
    return NotConnected("the connection broke", hint=_TRY)


def unreachable(error: Exception, address: str, *, secure: bool, agreed: str) -> HansaError:
    """Why an address could not be dialled.

    Args:
        error: what websockets, TLS or the system said.
        address: as it was written.
        secure: with TLS.
        agreed: what both sides of TLS agreed to speak over it; empty where it did not come to that.
    """
    if isinstance(error, InvalidStatus) and error.response.body.startswith(b"{"):
        return decoded(bytes(error.response.body))  # it is one of ours that refuses, and says why
    meaning, hint = _meaning(list(_causes(error))) or _silence(secure, agreed)
    return NotConnected(f"cannot connect to {address}: {meaning}", where=address, hint=hint)


def _meaning(chain: list[BaseException]) -> tuple[str, str] | None:
    for error in chain:
        match error:
            case ssl.SSLCertVerificationError(verify_code=62 | 64):  # X509_V_ERR_HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
                return "its certificate is for another name", "dial the name that its certificate is for"
            case ssl.SSLCertVerificationError():
                return (
                    "its certificate is not valid, or of another authority",
                    "compare the authority's certificate with the one in your invitation",
                )
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
                return _NO_TLS
            case ssl.SSLError(reason=str(reason)) if "ALERT" in reason and ("CERT" in reason or "_CA" in reason):
                return _REFUSED
            case ssl.SSLError(reason=str(reason)) if "ALERT" in reason and "APPLICATION_PROTOCOL" in reason:
                return _FOREIGN
            case ProxyError() | InvalidProxy():
                said = "".join(letter for letter in str(error) if letter.isprintable())
                return f"the proxy does not let through ({said:.200})", "check HTTPS_PROXY, and what the proxy allows"
            case NegotiationError() | InvalidStatus() | InvalidUpgrade():
                return "it speaks HTTP, but not Hansa's WebSocket", "check the address, and compare the versions"
            case socket.gaierror():
                return "the host's name is not known", "check the address"
            case ConnectionRefusedError():
                return "nothing listens there", "check that the server runs, and at which address"
            case TimeoutError():
                return "it does not answer", "check the address, and firewalls on the way"
            case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH):
                return "no way leads there", "check the address, and this machine's network"
    return None


def _silence(secure: bool, agreed: str) -> tuple[str, str]:
    """What it means that the other side hung up, or said what is no HTTP."""
    if secure and not agreed:
        return "it hung up before the connection was secured", _NO_TLS[1]
    return _REFUSED if agreed == HTTP else _FOREIGN


_NO_TLS = "it does not speak TLS", "check the port, and whether the server runs without TLS"
_FOREIGN = (
    "it does not speak WebSocket",
    "check the port; what listens there may speak gRPC, whose address is written without a scheme, host:port",
)
_REFUSED = (
    "it closed the connection after the handshake, most likely because it refuses this side's certificate",
    "check that your certificate is not expired, and of its authority",
)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
