"""Sizes and durations as people write them: "512 MiB", "5 min". Pure functions from text to numbers.

This file must not know which settings are sizes or durations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

from hansa.errors import ConfigError

SIZES: Mapping[str, int] = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
"""Bytes in each unit of size."""

DURATIONS: Mapping[str, Fraction] = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
"""Seconds in each unit of time."""

RATES: Mapping[str, Fraction] = {
    **{f"{unit}bit/s": Fraction(10**power, 8) for unit, power in (("", 0), ("k", 3), ("M", 6), ("G", 9))},
    **{f"{unit}/s": Fraction(size) for unit, size in SIZES.items()},
}
"""Bytes a second in each unit of speed."""

_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z/]*)", re.ASCII)


def parse_size(value: object) -> int:
    """How many bytes "512 MiB" are; a whole number is bytes already. Parts of a byte are left out.

    Raises:
        ConfigError: it is no size: no number, less than 0, or in a unit that there is not.
    """
    if isinstance(value, str):
        return int(_parsed(value, SIZES, "a size such as '512 MiB'"))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ConfigError(f"expected a size such as '512 MiB', found {value!r:.80}", hint=_units(SIZES))
    return value


def parse_duration(value: object) -> float:
    """How many seconds "5 min" are; a number is seconds already.

    Raises:
        ConfigError: it is no duration: no finite number, less than 0, or in a unit that there is not.
    """
    if isinstance(value, str):
        return float(_parsed(value, DURATIONS, "a duration such as '5 min'"))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15 or math.isnan(value):
        raise ConfigError(f"expected a duration such as '5 min', found {value!r:.80}", hint=_units(DURATIONS))
    return float(value)


def parse_rate(value: object) -> float:
    """How many bytes a second "1 Mbit/s" are; "unlimited" is infinitely many.

    Raises:
        ConfigError: it is no speed: no number, 0, or in a unit that there is not.
    """
    expected = "a speed such as '1 Mbit/s', or 'unlimited'"
    if value == "unlimited":
        return math.inf
    if not isinstance(value, str):
        raise ConfigError(f"expected {expected}, found {value!r:.80}", hint=_units(RATES))
    if not (found := _parsed(value, RATES, expected)):
        raise ConfigError(f"expected {expected}, found {value!r:.80}", hint="nothing would ever arrive")
    return float(found)


def _parsed(text: str, units: Mapping[str, int | Fraction] | Mapping[str, Fraction], expected: str) -> Fraction:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"expected {expected}, found {text!r:.80}", hint=_units(units))
    number, unit = match.groups()
    if unit not in units:
        near = next((known for known in units if known.lower() == unit.lower()), "")
        what = f"there is no unit {unit!r}" if unit else "the unit is missing"
        raise ConfigError(
            f"expected {expected}, found {text!r:.80}: {what}",
            hint=f"did you mean {near!r}?" if near else _units(units),
        )
    return Fraction(number) * units[unit]


def _units(units: Mapping[str, object]) -> str:
    return f"write a number and one of the units {', '.join(units)}"
