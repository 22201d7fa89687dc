"""Bandwidth as an owner says it: one speed, or one for each way. This file must not know who keeps to it, or how."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hansa.core.units import parse_rate
from hansa.errors import ConfigError, UnknownName


@dataclass(frozen=True)
class Bandwidth:
    """The most that an Envoy's transfers take, in bytes a second, all of them together.

    Attributes:
        up: to the Director.
        down: from it.
    """

    up: float = math.inf
    down: float = math.inf


def parse_bandwidth(value: Any) -> Bandwidth:
    """What "1 Mbit/s", "unlimited" or {up = "1 Mbit/s", down = "10 Mbit/s"} say.

    Raises:
        ConfigError: it is none of them.
        UnknownName: a way that there is not.
    """
    if not isinstance(value, dict):
        both = parse_rate(value)
        return Bandwidth(both, both)
    ways = ("up", "down")
    if unknown := next((way for way in value if way not in ways), None):
        raise UnknownName.among("way", unknown, ways)
    found = {}
    for way, speed in value.items():
        try:
            found[way] = parse_rate(speed)
        except ConfigError as problem:
            raise ConfigError(f"{way}: {problem.what}", hint=problem.hint) from problem
    return Bandwidth(**found)
