"""Addresses: "host:port", where the host is a DNS name or an IP address; with "wss://" before it, over WebSocket.

Pure functions; nothing is looked up.

This file must not know who listens or dials.
"""

from __future__ import annotations

import ipaddress
import re

from hansa.errors import ConfigError

SECURE, PLAIN = "wss", "ws"
SCHEMES = (SECURE, PLAIN)
"""Of addresses that are reached over WebSocket, with and without TLS."""

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
_ADDRESS = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+)):([0-9]{1,5})", re.ASCII)


def parse_host(text: str) -> str:
    """The DNS name or the IP address itself, if it is one.

    Raises:
        ConfigError: it is neither.
    """
    name = len(text) <= 253 and _DNS.fullmatch(text) is not None
    # A name that ends in a number is a mistyped IP address: no top-level domain is a number.
    if (name and not text.rpartition(".")[2].isdigit()) or _ip(text) is not None:
        return text
    raise ConfigError(
        f"expected a DNS name or an IP address, found {text!r:.80}", hint="such as director.example.org or 192.0.2.7"
    )


def parse_address(text: str, *, listening: bool = False) -> tuple[str, int]:
    """The host and the port in "host:port"; an IPv6 address is written in brackets, "[::1]:8470".

    Args:
        text: the address.
        listening: a port of 0 is allowed, for which the system chooses a free one.

    Raises:
        ConfigError: it is no such address.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"expected host:port, found {text!r:.80}", hint="such as 127.0.0.1:8470, or [::1]:8470 for IPv6"
        )
    host, port = match[1] or match[2], int(match[3])
    if match[1] and not isinstance(_ip(host), ipaddress.IPv6Address):
        raise ConfigError(
            f"expected an IPv6 address between the brackets, found {host!r:.80}", hint="such as [::1]:8470"
        )
    if not (0 if listening else 1) <= port <= 65535:
        raise ConfigError(
            f"expected a port from 1 to 65535, found {port}", hint="the Director's own is 8470 unless set"
        )
    return parse_host(host), port


def parse_url(text: str, *, listening: bool = False) -> tuple[str, str, int]:
    """The scheme, the host and the port in "wss://host:port", or in "ws://host:port", which is without TLS.

    Args:
        text: the address.
        listening: see `parse_address`.

    Raises:
        ConfigError: it is no such address, or it is without TLS and can be reached from other machines.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or scheme not in SCHEMES:
        raise ConfigError(f"expected wss://host:port, found {text!r:.80}", hint="such as wss://alice.example.org:8777")
    host, port = parse_address(rest.removesuffix("/"), listening=listening)
    if scheme == PLAIN and not is_loopback(host):
        raise ConfigError(
            f"{text!r} is without TLS, which is for this machine only",
            hint=f"write {SECURE}://{rest}, or use 127.0.0.1",
        )
    return scheme, host, port


def parse_dialled(text: str) -> tuple[str, str, int]:
    """The scheme, the host and the port of what is dialled: "host:port", whose scheme is "", or "wss://host:port".

    Raises:
        ConfigError: it is neither.
    """
    return parse_url(text) if "://" in text else ("", *parse_address(text))


def is_loopback(host: str) -> bool:
    """Whether only this machine can mean it."""
    address = _ip(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
