"""Who speaks: a name and a role, as a certificate says them. This file must not know how either was proved."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from hansa.errors import ConfigError

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


class Role(enum.StrEnum):
    """What somebody may do in a federation."""

    DIRECTOR = "director"
    """The centre itself."""
    ENVOY = "envoy"
    """An owner of data: is asked, and answers for itself only."""
    USER = "user"
    """Submits experiments, and sees its own."""
    ADMIN = "admin"
    """Sees and stops everything."""
    NEWCOMER = "newcomer"
    """Holds an invitation, good for one thing: to be given a certificate."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody at the other end of a connection.

    Attributes:
        name: unique in the federation; see `checked_name`.
        role: what it may do.
        serial: of its certificate, in hexadecimal; empty where there is none (loopback without TLS).
    """

    name: str
    role: Role
    serial: str = ""


def checked_name(name: str, what: str = "name") -> str:
    """The name itself, if it is one: small letters, digits, `.`, `_`, `-`, 63 at most; so it is safe in a path.

    Raises:
        ConfigError: it is not.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"{name!r} cannot be a {what}",
            hint="use small letters, digits, '.', '_' and '-', 63 at most, with a letter or digit at both ends",
        )
    return name
