"""Errors as bytes, so that they cross from a service to its caller: the class's name and the three texts, nothing else.

Only classes of `hansa.errors` are ever made again, from texts alone. The texts come from another machine and end in terminals
and logs: they are short, and without control characters. This file must not know what carries the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from hansa import errors
from hansa.errors import FederationError, HansaError

FAULT_LIMIT = 4 * 2**10
"""Bytes of an encoded error, at most: it travels in HTTP/2 headers, of which gRPC takes 8 KiB, a third of it for base64."""

_ROOM = {"what": 2048, "where": 512, "hint": 1024}
"""Bytes of each text, at most."""

_KINDS: Mapping[str, type[HansaError]] = MappingProxyType(
    {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, HansaError)}
)


def encoded(error: HansaError) -> bytes:
    """An error as at most `FAULT_LIMIT` bytes. A class from elsewhere becomes the nearest one above it in `hansa.errors`."""
    kind = next(base.__name__ for base in type(error).__mro__ if _KINDS.get(base.__name__) is base)
    texts = {name: _clipped(str(getattr(error, name)), room) for name, room in _ROOM.items()}
    return _json({"kind": kind, **texts})


def decoded(data: bytes) -> HansaError:
    """The error again. What cannot be read is a `FederationError` too, never an exception of another kind."""
    try:
        told = json.loads(data) if len(data) <= FAULT_LIMIT else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return FederationError("the other side reported an error that cannot be read", hint="look at its log")
    what, where, hint = (_clean(str(told.get(name, ""))[:room]) for name, room in _ROOM.items())
    return _KINDS.get(str(told.get("kind")), FederationError)(what, where=where, hint=hint)


def internal() -> FederationError:
    """What a caller is told of an exception that is none of ours: nothing of it."""
    return FederationError("internal error", hint="the log of the other side says more")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _clipped(text: str, room: int) -> str:
    if len(text) <= room and len(_json(text)) <= room:
        return text
    text = text[:room]
    while len(_json(text)) > room - 4:  # room for the ellipsis, and for quotation marks
        text = text[: len(text) * 9 // 10]
    return text + "…"


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)
