"""Where an experiment computes: its policy, and what an owner offers.

The owner's file says which devices may be used; the experiment says which it wants. This file asks no framework.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hansa.errors import ConfigError

_POLICY = re.compile(r"(cpu|[a-z]+(:[0-9]+)?)( if there)?")


class NoSuchDevice(ConfigError):
    """An experiment needs a device that an owner does not offer."""


def check_policy(policy: str) -> None:
    """Refuse what is no policy: "cpu", "cuda" (needed), "cuda if there" (else the processor), also "cuda:1", "mps".

    Raises:
        ConfigError: it is none.
    """
    if not _POLICY.fullmatch(str(policy)):
        raise ConfigError(f"no device policy: {policy!r}", hint='say "cpu", "cuda", or "cuda if there"')


def chosen(policy: str, offered: Sequence[str]) -> str:
    """The device to compute on, of those that an owner offers; the processor is always there.

    Raises:
        NoSuchDevice: the experiment needs one that is not offered.
    """
    wanted, _, perhaps = policy.partition(" ")
    if wanted == "cpu":
        return "cpu"
    for device in offered:
        if device == wanted or device.partition(":")[0] == wanted:
            return device
    if perhaps:
        return "cpu"
    raise NoSuchDevice(
        f"the experiment needs the device {wanted!r}, and its owner offers {', '.join(offered) or 'the processor only'}",
        hint=f'say device="{wanted} if there", or let the owner offer it: devices in envoy.toml',
    )
