"""The protobuf schema of the protocol, made from the frozen values of `messages` and `facts`, so that nothing is written twice.

A message's fields are numbered in the order of its attributes; so a new attribute goes last, and none changes places.
`hansa.proto` says the same for other languages, and a test compiles it and compares.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from hansa.protocol import facts, messages

PACKAGE = "hansa.v1"

PARTS = (messages.Blob, messages.Holding, facts.Part, facts.Fate)
"""Values that others are made of, and that are never sent or written alone."""

FIRST_MESSAGE, FIRST_FACT = 10, 100
"""The numbers in the envelope of the first message and the first fact; the others follow in their order."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Mapping[type, Any] = {
    str: _Field.TYPE_STRING,
    int: _Field.TYPE_INT64,
    float: _Field.TYPE_DOUBLE,
    bool: _Field.TYPE_BOOL,
    bytes: _Field.TYPE_BYTES,
}


def _declared(module: types.ModuleType) -> list[type]:
    """The dataclasses of a module, in their order."""
    found = (each for each in vars(module).values() if isinstance(each, type) and dataclasses.is_dataclass(each))
    return [each for each in found if each.__module__ == module.__name__]


def snake(name: str) -> str:
    """`RunInfo` as `run_info`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


DATACLASSES = (*_declared(messages), *_declared(facts))
MESSAGES = tuple(each for each in _declared(messages) if each not in PARTS)
FACTS = tuple(each for each in _declared(facts) if each not in PARTS)
KINDS: Mapping[str, type] = {snake(each.__name__): each for each in (*MESSAGES, *FACTS)}
"""Every message and fact, by its name in the envelope."""


def part_of(hint: Any) -> tuple[str, Any]:
    """A field's type as ("one" | "optional" | "many" | "map", the type of what it holds)."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return "many", arguments[0]
    if origin in (typing.Union, types.UnionType):
        return "optional", next(each for each in arguments if each is not type(None))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "map", arguments[1]
    return "one", hint


def file() -> Any:
    """The whole schema as protobuf describes one: a `FileDescriptorProto`."""
    described = descriptor_pb2.FileDescriptorProto(name="hansa.proto", package=PACKAGE, syntax="proto3")
    envelope = described.message_type.add(name="Envelope")
    envelope.field.add(name="version", number=1, type=_Field.TYPE_INT64, label=_Field.LABEL_OPTIONAL)
    envelope.oneof_decl.add(name="body")
    for first, kinds in ((FIRST_MESSAGE, MESSAGES), (FIRST_FACT, FACTS)):
        for number, kind in enumerate(kinds, first):
            field = envelope.field.add(name=snake(kind.__name__), number=number, label=_Field.LABEL_OPTIONAL)
            field.type, field.type_name, field.oneof_index = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind.__name__}", 0
    for kind in DATACLASSES:
        _describe(kind, described.message_type.add(name=kind.__name__))
    return described


def _describe(kind: type, message: Any) -> None:
    hints = typing.get_type_hints(kind)
    for number, name in enumerate(_names(kind), 1):
        count, held = part_of(hints[name])
        field = message.field.add(name=name, number=number)
        field.label = _Field.LABEL_REPEATED if count in ("many", "map") else _Field.LABEL_OPTIONAL
        if count == "map":
            entry = message.nested_type.add(name=name.title().replace("_", "") + "Entry")
            entry.options.map_entry = True
            for place, part, of in ((1, "key", str), (2, "value", held)):
                entry.field.add(name=part, number=place, type=_SCALARS[of], label=_Field.LABEL_OPTIONAL)
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind.__name__}.{entry.name}"
        elif held in DATACLASSES:
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{held.__name__}"
        else:
            field.type = _Field.TYPE_STRING if issubclass(held, enum.Enum) else _SCALARS[held]


def _names(kind: Any) -> Iterator[str]:
    return (field.name for field in dataclasses.fields(kind))


def _envelope() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Envelope"))


Envelope: Any = _envelope()
"""The protobuf class of every frame and every record."""
