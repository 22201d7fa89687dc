"""One way to dial an address, whichever transport it names. This file must not know who dials, nor why."""

from __future__ import annotations

from hansa.protocol.peer import Peer
from hansa.transport.address import parted
from hansa.transport.credentials import Credentials
from hansa.transport.port import Connection

DEADLINE = 60.0
"""Seconds that a `call` may take."""


def dialled(
    address: str,
    *,
    credentials: Credentials | None = None,
    server_name: str = "",
    insecure: Peer | None = None,
    deadline: float = DEADLINE,
) -> Connection:
    """A connection that dials when it is first used. Call it inside the event loop that uses it.

    Only the transport that the address names is loaded.

    Args:
        address: `host:port` for gRPC; `wss://host:port`, or on a loopback address `ws://host:port`, for WebSocket.
        credentials: of the client; the server's certificate must come from their authority.
        server_name: the name to expect in the server's certificate; by default the host of the address.
        insecure: who the client says that it is, without TLS and on a loopback address only.
        deadline: seconds that a `call` may take.

    Raises:
        ConfigError: the address is none, or its scheme says otherwise; or not a loopback one and `insecure`; or there are
            neither credentials nor `insecure`.
        CertificateError: the credentials cannot be read, or do not belong together.
        MissingExtra: gRPC is needed, and not installed.
    """
    scheme, _ = parted(address)
    if scheme:
        from hansa.transport.websocket.client import WebSocketConnection

        return WebSocketConnection(
            address, credentials=credentials, server_name=server_name, insecure=insecure, deadline=deadline
        )
    from hansa.transport.grpc.client import GrpcConnection

    return GrpcConnection(
        address, credentials=credentials, server_name=server_name, insecure=insecure, deadline=deadline
    )
