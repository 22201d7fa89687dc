"""Messages and facts as bytes: protobuf, by the definitions in `hansa.proto`. Equal values give equal bytes.

Strict: what is malformed, too large, of another version, or holds a value that its field cannot have, is a `ProtocolError`.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from typing import Any

from hansa.errors import ProtocolError
from hansa.protocol import messages, schema

LIMIT = 4 * 2**20
"""The largest message, in bytes; whatever is larger travels as a blob."""


def encode(value: object, version: int = messages.VERSIONS[0]) -> bytes:
    """A message or fact as the bytes of an envelope.

    Raises:
        ProtocolError: it is larger than `LIMIT`, or holds something that its field cannot.
    """
    kind = type(value).__name__
    envelope = schema.Envelope(version=version)
    body = getattr(envelope, schema.snake(kind))
    body.SetInParent()
    try:
        _fill(body, value)
    except (TypeError, ValueError) as problem:
        raise ProtocolError(f"a {kind} cannot hold this: {problem}") from problem
    data: bytes = envelope.SerializeToString(deterministic=True)
    if len(data) > LIMIT:
        raise ProtocolError(
            f"a {kind} of {len(data)} bytes is too large to send; at most {LIMIT} are possible",
            hint="large values belong in arrays, not in settings or metrics",
        )
    return data


def decode(data: bytes) -> Any:
    """The message or fact that `encode` wrote.

    Raises:
        ProtocolError: the bytes are no envelope of a version that is spoken here, or a field has no possible value.
    """
    if len(data) > LIMIT:
        raise ProtocolError(f"a message of {len(data)} bytes is too large; at most {LIMIT} are read")
    try:
        envelope = schema.Envelope.FromString(data)
    except Exception as problem:  # the class of protobuf's error differs between its implementations
        raise ProtocolError("these bytes are no message: they are truncated, or something else") from problem
    if envelope.version not in messages.VERSIONS:
        spoken = ", ".join(map(str, messages.VERSIONS))
        raise ProtocolError(
            f"the message is of version {envelope.version} of the protocol; spoken here: {spoken}",
            hint="install the same version of Hansa on both sides",
        )
    body = envelope.WhichOneof("body")
    if body is None:
        raise ProtocolError("the message is of a kind that is not known here", hint="install the same version of Hansa")
    return _read(schema.KINDS[body], getattr(envelope, body))


def _fill(target: Any, value: Any) -> None:
    for field in dataclasses.fields(value):
        name, content = field.name, getattr(value, field.name)
        if content is None:
            continue
        if dataclasses.is_dataclass(content):
            getattr(target, name).SetInParent()
            _fill(getattr(target, name), content)
        elif isinstance(content, tuple) and content and dataclasses.is_dataclass(content[0]):
            for each in content:
                _fill(getattr(target, name).add(), each)
        elif isinstance(content, tuple):
            getattr(target, name).extend(content)
        elif isinstance(content, Mapping):
            getattr(target, name).update(content)
        else:
            setattr(target, name, content)


def _read(kind: Any, source: Any) -> Any:
    try:
        return kind(**{name: _field(source, name, *how) for name, how in _fields(kind).items()})
    except ValueError as problem:
        raise ProtocolError(f"a {kind.__name__} holds a value that it cannot have: {problem}") from problem


@functools.cache
def _fields(kind: Any) -> Mapping[str, tuple[str, Any]]:
    return {name: schema.part_of(hint) for name, hint in typing.get_type_hints(kind).items()}


def _field(source: Any, name: str, count: str, held: Any) -> Any:
    content = getattr(source, name)
    nested = dataclasses.is_dataclass(held)
    match count:
        case "many":
            return tuple(_read(held, each) if nested else each for each in content)
        case "map":
            return dict(content)
        case "optional":
            return _read(held, content) if source.HasField(name) else None
    return _read(held, content) if nested else held(content)
