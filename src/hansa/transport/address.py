"""Addresses, `host:port` or `wss://host:port`: what they mean, and why one cannot be listened at.

This file must not know who listens.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

from hansa.errors import ConfigError

SCHEMES = ("wss", "ws")
"""What an address of WebSockets begins with, before `://`: with TLS, and without."""


def parted(text: str) -> tuple[str, Address]:
    """Read `host:port`, `wss://host:port` or `ws://host:port`, with or without a slash at the end of the latter two.

    Returns:
        The scheme, empty where there is none; and the address.

    Raises:
        ConfigError: it is none of them.
    """
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        return "", Address.parse(text)
    if scheme not in SCHEMES:
        raise ConfigError(
            f"{text!r} is not an address",
            hint="write wss://host:port for WebSocket, or host:port alone for gRPC",
        )
    return scheme, Address.parse(rest.removesuffix("/"))


@dataclass(frozen=True, slots=True)
class Address:
    """A host's name or number, and a port; an IPv6 number is written in brackets.

    Attributes:
        host: without brackets.
        port: 0 to 65535; 0 lets the system choose one to listen at.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`.

        Raises:
            ConfigError: it is none.
        """
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        plain = host[1:-1] if bracketed else host
        sound = bool(plain) and not set(plain) & set("/[]@ ") and (bracketed or ":" not in plain)
        if not (colon and sound and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 2**16):
            raise ConfigError(
                f"{text!r} is not an address", hint="write host:port, such as director.example.org:7000 or [::1]:7000"
            )
        return cls(plain, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it reaches this machine only, whatever a resolver may say."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def require_loopback(self) -> None:
        """Refuse to go without TLS where others could listen in.

        Raises:
            ConfigError: it is not a loopback address.
        """
        if not self.loopback:
            raise ConfigError(
                f"a connection without TLS is for this machine only, not for {self}",
                hint="use 127.0.0.1, or give credentials",
            )


def unusable(address: Address) -> ConfigError:
    """Why an address cannot be listened at, found by trying it once more; call it after it was refused."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen()
    except socket.gaierror:
        return ConfigError(f"the host {address.host!r} is not known here", hint="check the address to listen at")
    except OSError as error:
        return _explained(address, error)
    return ConfigError(
        f"cannot listen at {address} with this certificate and key",
        hint="check that both are PEM, and that the key is the certificate's",
    )


def _explained(address: Address, error: OSError) -> ConfigError:
    match error.errno:
        case errno.EADDRINUSE:
            return ConfigError(
                f"port {address.port} is in use already", where=str(address), hint="stop who uses it, or choose another"
            )
        case errno.EACCES | errno.EPERM:
            return ConfigError(
                f"port {address.port} is for the system only", where=str(address), hint="choose one above 1023"
            )
        case errno.EADDRNOTAVAIL:
            return ConfigError(
                f"this machine has no address {address.host}",
                where=str(address),
                hint="use one that it has, or 0.0.0.0",
            )
        case _:
            return ConfigError(f"cannot listen at {address}: {error.strerror}", hint="choose another address")
