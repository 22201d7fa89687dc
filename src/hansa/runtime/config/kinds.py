"""The kinds of settings: each is a function from what TOML says to the setting's value.

They raise ConfigError with the expected and the found. `hansa.runtime.config.settings` adds the key, the table and the file,
and makes paths absolute.

This file must not know which settings there are.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hansa.core.units import SIZES, parse_duration, parse_size
from hansa.errors import ConfigError, UnknownName
from hansa.protocol.peer import checked_name
from hansa.runtime.config.address import parse_address, parse_dialled, parse_host, parse_url

if TYPE_CHECKING:
    from hansa.data.schema import Schema

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)

Kind = Callable[[Any], T]
"""Reads one setting: what TOML says -> its value."""

_TYPES: Mapping[type, str] = {
    bool: "true or false",
    str: "text",
    int: "a whole number",
    float: "a decimal number",
    list: "a list",
    dict: "a table",
}


def described(found: object) -> str:
    """What was found and which type it is, in TOML's words; a list or a table by its type alone."""
    kind = next((words for type_, words in _TYPES.items() if isinstance(found, type_)), "a date or time")
    match found:
        case list() | dict():
            return kind
        case bool():
            return f"{str(found).lower()} ({kind})"
        case dt.date() | dt.time():
            return f"{found} ({kind})"
    return f"{found!r:.80} ({kind})"


def text(value: Any) -> str:
    """Any text on one line."""
    if not isinstance(value, str):
        raise ConfigError(f"expected text, found {described(value)}", hint="put it in quotes")
    if not value.isprintable():
        raise ConfigError(
            f"expected text on one line, found {value!r:.80}", hint="leave out line ends and control characters"
        )
    return value


def name(value: Any) -> str:
    """A name in the federation; see `hansa.protocol.peer.checked_name`."""
    return checked_name(text(value))


def choice(options: type[E]) -> Kind[E]:
    """One of an enumeration's values."""

    def read(value: Any) -> E:
        chosen = text(value)
        if chosen not in list(options):
            raise ConfigError(
                f"expected {' or '.join(repr(each.value) for each in options)}, found {chosen!r:.80}",
                hint=UnknownName.among("choice", chosen, options).hint,
            )
        return options(chosen)

    return read


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ConfigError(
            f"expected true or false, found {described(value)}", hint="write true or false without quotes"
        )
    return value


def whole(least: int) -> Kind[int]:
    """A whole number of at least `least`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"expected a whole number, found {described(value)}", hint="such as 4, without quotes")
        if not least <= value < 2**31:
            raise ConfigError(
                f"expected a whole number from {least} to 2147483647, found {value}", hint="choose another"
            )
        return value

    return read


def size(least: int = 0) -> Kind[int]:
    """A number of bytes, at least `least`, written "512 MiB"."""

    def read(value: Any) -> int:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ConfigError(f"expected a size such as '512 MiB', found {described(value)}", hint="put it in quotes")
        found = parse_size(value)
        if found < least:
            raise ConfigError(
                f"expected at least {least} bytes, found {described(value)}", hint=f"add a unit: {', '.join(SIZES)}"
            )
        return found

    return read


def seconds(value: Any) -> float:
    """A time of more than 0 seconds, written 90 or "5 min"."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        what = f"expected seconds, or a duration such as '5 min', found {described(value)}"
        raise ConfigError(what, hint="write 300, or '5 min' with the quotes")
    found = parse_duration(value)
    if found <= 0:
        raise ConfigError(f"expected more than 0 seconds, found {described(value)}", hint="such as '5 min'")
    return found


def dialled(value: Any) -> str:
    """An address to connect to, "host:port" or "wss://host:port"."""
    parse_dialled(text(value))
    return str(value)


def listened(value: Any) -> str:
    """An address to listen on, "host:port"; a port of 0 is the system's choice."""
    parse_address(text(value), listening=True)
    return str(value)


def url(value: Any) -> str:
    """An address to connect to over WebSocket, "wss://host:port"."""
    parse_url(text(value))
    return str(value)


def listened_url(value: Any) -> str:
    """An address to listen on for WebSocket, "wss://host:port"; a port of 0 is the system's choice."""
    parse_url(text(value), listening=True)
    return str(value)


def perhaps(each: Kind[str]) -> Kind[str]:
    """A text of one kind, or none: ""."""

    def read(value: Any) -> str:
        return each(value) if text(value) else ""

    return read


def host(value: Any) -> str:
    """A DNS name or an IP address."""
    return parse_host(text(value))


def path(value: Any) -> Path:
    """A file or a folder, relative to the folder of the file that says it."""
    if not text(value):
        raise ConfigError("expected a path, found ''", hint="'.' is the folder of this file")
    if value.startswith("~"):
        # A service may run as another user, whose home is another.
        raise ConfigError(f"expected a path, found {value!r:.80}: ~ depends on who is asking", hint="write it in full")
    return Path(value)


def listed(each: Kind[T], least: int = 0) -> Kind[tuple[T, ...]]:
    """A list of at least `least` different entries of one kind."""

    def read(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise ConfigError(f"expected a list, found {described(value)}", hint='such as ["one", "two"]')
        found = tuple(each(entry) for entry in value)
        if len(found) < least:
            raise ConfigError(f"expected a list of at least {least}, found {len(found)}", hint="add an entry")
        if twice := next((entry for entry in found if found.count(entry) > 1), None):
            raise ConfigError(f"{twice!r} is in the list twice", hint="leave one out")
        return found

    return read


def labels(value: Any) -> dict[str, str]:
    """A table of texts."""
    found = {}
    for key, each in anything(value).items():
        try:
            found[key] = text(each)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error.what}", hint=error.hint) from error
    return found


def anything(value: Any) -> dict[str, Any]:
    """A table that is somebody else's business."""
    if not isinstance(value, dict):
        raise ConfigError(f"expected a table, found {described(value)}", hint="write it as a table of its own, [...]")
    return value


def schema(value: Any) -> Schema | None:
    """The tables `[schema.x]`, one for each field, or None where there is none."""
    if value is None:
        return None
    from hansa.data.documents import schema_from_json  # only here: an Envoy, which has no such setting, loads no arrays

    return schema_from_json(value)


def reference(value: Any) -> str:
    """A class, "module:Class"; whether there is one is found out when it is loaded."""
    module, colon, cls = text(value).partition(":")
    if not colon or not cls.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"expected 'module:Class', found {value!r:.80}", hint="write ward:Ward for Ward in ward.py")
    return str(value)
