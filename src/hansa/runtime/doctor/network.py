"""Whether a Director can listen, and whether those who dial it reach it, are believed, and have the same time."""

from __future__ import annotations

import socket
import time

from hansa.errors import HansaError, NotAllowed
from hansa.pki import Identity
from hansa.runtime.config import parse_address
from hansa.runtime.doctor.finding import Finding, good, of_error, problem, warning
from hansa.runtime.user import User
from hansa.transport.address import Address, unusable

SKEW, WRONG = 300.0, 3600.0
"""Seconds between two clocks from which on it is a warning, and a problem."""


def port(address: str, holder: int | None, whose: str = "Director") -> list[Finding]:
    """Whether a Director, or an Envoy that listens, can do so at its address.

    Args:
        address: `host:port`, as its settings say.
        holder: its process, if it runs.
        whose: what it is.
    """
    if holder is not None:
        return [good("port", f"{address} is used by the {whose} itself, process {holder}")]
    host, number = parse_address(address, listening=True)
    try:
        places = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in places:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen()
    except OSError:
        return [of_error("port", unusable(Address.parse(address)))]
    return [good("port", f"{address} is free")]


def director(address: str, mine: Identity) -> list[Finding]:
    """Whether a Director answers at an address, believes this identity, and has the same time."""
    try:
        with User(address, mine) as user:
            before = time.time()
            found = user.overview()["director"]
            after = time.time()
    except NotAllowed as error:  # it answered, and knows who asks
        return [warning("Director", f"{address} answers, and says: {error.what}", error.hint)]
    except HansaError as error:
        return [of_error("Director", error)]
    checks = [good("Director", f"{address} answers over TLS: {found['name']}, Hansa {found['version']}")]
    if found["paused"]:
        checks.append(warning("Director", f"it is paused: {found['paused']}", "tell whoever runs it"))
    if found["draining"]:
        checks.append(warning("Director", "it is about to stop, and takes nothing new"))
    return [*checks, clock(found["clock"] - (before + after) / 2)]


def clock(skew: float) -> Finding:
    """How far the Director's clock is ahead of this machine's, in seconds, judged."""
    if abs(skew) < SKEW:
        return good("clock", f"{abs(skew):.1f} s from the Director's")
    said = f"this machine's clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the Director's"
    hint = "set the clock of whichever is wrong; certificates and deadlines go by it"
    return problem("clock", said, hint) if abs(skew) >= WRONG else warning("clock", said, hint)
