"""Addresses as Flower's programs write them: every network's, without certificates, means this machine alone here."""

from __future__ import annotations

import logging

from hansa.interop.flower.common.logger import log
from hansa.transport.address import Address

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what is looked for, to be replaced
"""The hosts that mean every network that a machine is in."""


def reachable(address: str, certificates: object) -> str:
    """The address itself; on this machine alone where it would be open to others without certificates.

    Raises:
        ConfigError: it is no address.
    """
    parsed = Address.parse(address)
    if certificates is not None or parsed.host not in EVERYWHERE:
        return str(parsed)
    here = Address("127.0.0.1", parsed.port)
    log(logging.WARNING, "without certificates only this machine can be reached: %s instead of %s", here, parsed)
    return str(here)
