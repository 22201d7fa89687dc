"""What both ends of a WebSocket agree on before the first message: names, limits, identity. It must not know who serves."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection as Socket
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from hansa.errors import ConfigError, HansaError, ProtocolError
from hansa.protocol.peer import Peer, Role, checked_name
from hansa.transport import tls
from hansa.transport.address import Address, parted
from hansa.transport.faults import encoded
from hansa.transport.live import SETTLE
from hansa.transport.websocket.framing import MESSAGE_LIMIT
from hansa.transport.websocket.pulse import Dialled
from hansa.transport.websocket.reasons import unreachable

CALLS, SERVES = Subprotocol("hansa.v1"), Subprotocol("hansa.v1.serves")
"""The subprotocols: what who dials is going to do."""

_WAITS = {
    CALLS: ("here listens a Director, which does not take another one", "let Envoys and users dial it"),
    SERVES: ("here listens an Envoy, which waits for a Director to dial it", "dial the Director instead"),
}
"""What is told to who asks for the other subprotocol."""

PEER = "hansa-peer"
"""Header of who dials, `role/name`, where there is no TLS to say it."""

CONNECT = 10.0
"""Seconds that dialling and shaking hands may take."""

_UNSENT = 2**18
"""Bytes that wait to be written before who writes more has to wait."""

Admit = Callable[[bytes], Peer]
"""Given the other side's certificate, PEM: says who that is, or raises. It runs in the event loop, so it must not wait."""


def place(address: str, *, secure: bool) -> Address:
    """The address alone, of `wss://host:port`, `ws://host:port` or `host:port`.

    Args:
        address: as it was written.
        secure: with TLS.

    Raises:
        ConfigError: the address is none; the scheme says otherwise; or it is without TLS and not a loopback one.
    """
    scheme, found = parted(address)
    if scheme == "ws" and secure:
        raise ConfigError(f"{address} is without TLS, and there are credentials for it", hint="write wss://")
    if not secure:
        if scheme == "wss":
            raise ConfigError(f"{address} needs credentials", hint="enrol first; or write ws:// on this machine only")
        found.require_loopback()
    return found


def written(address: Address, *, secure: bool) -> str:
    """The address as others dial it."""
    return f"{'wss' if secure else 'ws'}://{address}"


def options() -> dict[str, Any]:
    """How a WebSocket of either end behaves."""
    return {
        "compression": None,  # updates are noise, and are compressed by who knows them
        "max_size": MESSAGE_LIMIT,
        "write_limit": _UNSENT,
        "ping_interval": None,  # see `pulse`
        "open_timeout": CONNECT,
        "close_timeout": SETTLE,
    }


async def dial(
    address: Address,
    asks: Subprotocol,
    *,
    context: ssl.SSLContext | None = None,
    server_name: str = "",
    insecure: Peer | None = None,
) -> Socket:
    """A WebSocket to that address, through the proxy that the environment names, except on loopback.

    Args:
        address: of who listens.
        asks: `CALLS` or `SERVES`.
        context: for TLS.
        server_name: the name to expect in the server's certificate, where the context asks; by default the host.
        insecure: who this is, without TLS.

    Raises:
        HansaError: it cannot be reached, or refuses; it says why.
    """
    shown = written(address, secure=context is not None)
    secure: dict[str, Any] = {} if context is None else {"ssl": context, "server_hostname": server_name or address.host}
    made: list[Dialled] = []

    def noted(*positional: Any, **named: Any) -> Dialled:
        made.append(Dialled(*positional, **named))
        return made[-1]

    try:
        return await connect(
            shown,
            subprotocols=[asks],
            additional_headers=None if insecure is None else {PEER: f"{insecure.role}/{insecure.name}"},
            proxy=None if address.loopback else True,
            create_connection=noted,  # type: ignore[arg-type]  # any callable will do, and this one remembers
            **secure,
            **options(),
        )
    except Exception as error:  # noqa: BLE001 - of websockets, TLS, the system, or a proxy's library
        raise unreachable(error, shown, secure=bool(secure), agreed=made[-1].agreed if made else "") from None


def refused(status: HTTPStatus, why: HansaError) -> Response:
    """An answer that says no, to a handshake."""
    body = encoded(why) + b"\n"
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
    return Response(int(status), status.phrase, headers, body)


def refusal(request: Request, takes: Subprotocol) -> Response | None:
    """The answer to who asks for something else than is offered here; None if it may go on."""
    if "Origin" in request.headers:  # of a web page, which could dial this machine without anybody's knowing
        return refused(HTTPStatus.FORBIDDEN, ProtocolError("this is no place for web pages", hint="use a Hansa client"))
    offered = [part.strip() for value in request.headers.get_all("Sec-WebSocket-Protocol") for part in value.split(",")]
    if takes in offered:
        return None
    if CALLS in offered or SERVES in offered:
        what, hint = _WAITS[takes]
        return refused(HTTPStatus.BAD_REQUEST, ProtocolError(what, hint=hint))
    why = ProtocolError(
        f"here listens Hansa, which speaks the WebSocket subprotocol {takes}", hint="use a Hansa client"
    )
    return refused(HTTPStatus.UPGRADE_REQUIRED, why)


def caller(socket: Socket, admit: Admit | None) -> Peer:
    """Who is at the other end: whom `admit` sees in its certificate; without it, who it says it is.

    Raises:
        HansaError: of `admit`.
        ProtocolError: it says nothing of the kind.
    """
    if admit is not None:
        return admit(tls.shown(socket.transport.get_extra_info("ssl_object")))
    said = socket.response if isinstance(socket, ClientConnection) else socket.request
    return told(said.headers.get(PEER, "") if said is not None else "")


def told(text: str) -> Peer:
    """Who a caller without TLS says that they are.

    Raises:
        ProtocolError: nobody can be that.
    """
    role, _, name = text.partition("/")
    try:
        return Peer(checked_name(name), Role(role))
    except ValueError:
        raise ProtocolError(
            "the caller does not say who they are, as role/name", hint="use hansa's own client"
        ) from None
