"""Frames as the page describes them: an envelope with one message, in protobuf's encoding, written and read by hand.

Written from docs/protocol.md alone. A message is a dict of its fields by name, and a frame is read into (its kind, that dict).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

VERSION = 1
LIMIT = 4 * 2**20
DIGITS = frozenset("0123456789abcdef")

_VISIT = "run:string ask:int64 client:string"
_ASKED = "settings:string inputs:Blob? previous:Settled* retries:int64"

PARTS = {
    "Blob": "sha256:string size:int64",
    "Holding": f"{_VISIT} answered:bool done:int64 of:int64",
    "Settled": f"{_VISIT} status:string",
}
"""For each its fields in the order of their numbers, as name:type; `*` means repeated, `?` optional."""

MESSAGES = {
    10: (
        "hello",
        "versions:int64* software:string clock:double shard:string labels:map devices:string* cores:int64 memory:int64",
    ),
    11: ("beat", "clock:double runs:string* kept:string* holding:Holding*"),
    12: ("answer", "run:string consent:string why:string"),
    13: ("result", f"{_VISIT} update:Blob? weight:double metrics:string failure:string log:string"),
    14: ("welcome", "version:int64 beat:double clock:double"),
    15: ("goodbye", "why:string again:bool"),
    16: ("offer", "run:string manifest:Blob signature:bytes certificate:bytes"),
    17: ("settled", PARTS["Settled"]),
    18: ("assign", f"{_VISIT} work:string round:int64 occurrence:int64 broadcast:Blob {_ASKED}"),
    19: ("over", "run:string why:string"),
    20: ("enroll", "request:bytes token:string"),
    21: ("enrolled", "certificate:bytes"),
    22: ("submit", "manifest:bytes signature:bytes certificate:bytes key:string"),
    23: ("submitted", "run:string"),
    24: ("lacking", "blobs:Blob*"),
    25: ("preview", "manifest:bytes"),
    26: ("about", "run:string request:string detail:string"),
    27: ("overview", ""),
    28: ("drain", ""),
    29: ("follow", "run:string after:int64"),
    30: ("report", "json:string"),
    31: ("upload", "blob:Blob offset:int64 run:string ask:int64 client:string"),
    32: ("received", "bytes:int64*"),
    33: ("download", "sha256:string run:string offset:int64"),
}
NUMBERS = {kind: number for number, (kind, _) in MESSAGES.items()}
CHOICES = {
    ("answer", "consent"): {"waiting", "ready", "refused"},
    ("settled", "status"): {"updated", "failed", "rejected", "dropped", "late"},
    ("Settled", "status"): {"updated", "failed", "rejected", "dropped", "late"},
    ("about", "request"): {"show", "cancel", "remove", "approve", "refuse", "share", "resume", "logs"},
}
WIRES = {"int64": 0, "bool": 0, "double": 1}
"""The wire types of what does not have 2."""
TAG = 32
"""Bits of a tag, at most."""
EMPTY: Mapping[str, Any] = {"int64": 0, "double": 0.0, "bool": False, "string": "", "bytes": b""}


class BadFrame(Exception):
    """Bytes that are no message."""


def encode(kind: str, fields: Mapping[str, Any]) -> bytes:
    """A message as a frame."""
    envelope = _tag(1, 0) + _varint(VERSION)
    frame = envelope + _block(NUMBERS[kind], _body(MESSAGES[NUMBERS[kind]][1], fields))
    if len(frame) > LIMIT:
        raise BadFrame(f"{len(frame)} bytes")
    return frame


def decode(frame: bytes) -> tuple[str, dict[str, Any]]:
    """A frame as (kind, fields)."""
    if len(frame) > LIMIT:
        raise BadFrame(f"{len(frame)} bytes")
    version, message, body = 0, 0, b""
    for number, wire, content in _fields(frame):
        if number == 1 and wire == 0:
            version = content
        elif number in MESSAGES and wire == 2:
            message, body = number, body + content if number == message else content
    if version != VERSION or message not in MESSAGES:
        raise BadFrame(f"version {version}, message {message}")
    kind, layout = MESSAGES[message]
    return kind, _read(kind, layout, body)


# --- writing


def _body(layout: str, fields: Mapping[str, Any]) -> bytes:
    body = b""
    for number, (name, type_) in enumerate(_layout(layout), 1):
        value = fields.get(name)
        if type_ == "map":
            for key, each in sorted((value or {}).items()):
                body += _block(number, _block(1, key.encode()) + _block(2, each.encode()))
        elif type_ == "int64*":
            body += _block(number, b"".join(_varint(each) for each in value)) if value else b""
        elif type_.endswith("*"):
            body += b"".join(_one(number, type_[:-1], each, always=True) for each in value or ())
        elif value is not None:
            body += _one(number, type_.rstrip("?"), value)
    return body


def _one(number: int, type_: str, value: Any, *, always: bool = False) -> bytes:
    if type_ in PARTS:
        return _block(number, _body(PARTS[type_], value))
    if value == EMPTY[type_] and str(value) != "-0.0" and not always:
        return b""
    if type_ in ("int64", "bool"):
        return _tag(number, 0) + _varint(int(value))
    if type_ == "double":
        return _tag(number, 1) + struct.pack("<d", value)
    return _block(number, value.encode() if type_ == "string" else value)


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _block(number: int, content: bytes) -> bytes:
    return _tag(number, 2) + _varint(len(content)) + content


# --- reading


def _read(kind: str, layout: str, data: bytes) -> dict[str, Any]:
    types = dict(_layout(layout))
    names = list(types)
    fields: dict[str, Any] = {name: _absent(type_) for name, type_ in types.items()}
    parts: dict[str, bytes] = {}
    for number, wire, content in _fields(data):
        name = names[number - 1] if number <= len(names) else ""
        type_ = types.get(name, "")
        base = type_.rstrip("*?")
        if type_ == "int64*" and wire == 2:
            fields[name] += [_signed(value) for value in _varints(content)]
        elif not name or wire != WIRES.get(base, 2):
            continue  # a field that is not known
        elif type_ == "map":
            entry = _read("", "key:string value:string", content)
            fields[name][entry["key"]] = entry["value"]
        elif type_.endswith("*"):
            fields[name].append(_value(base, content))
        elif base in PARTS:
            parts[name] = parts.get(name, b"") + content
        else:
            fields[name] = _value(base, content)
    fields |= {name: _value(types[name].rstrip("?"), part) for name, part in parts.items()}
    for name, value in fields.items():
        if value not in CHOICES.get((kind, name), (value,)):
            raise BadFrame(f"{kind}.{name} cannot be {value!r}")
    if missing := [name for name, type_ in types.items() if type_ in PARTS and fields[name] is None]:
        raise BadFrame(f"{kind} has no {missing[0]}")
    if kind == "Blob" and not (len(fields["sha256"]) == 64 and set(fields["sha256"]) <= DIGITS and fields["size"] >= 0):
        raise BadFrame(f"no file is called {fields!r}")
    return fields


def _absent(type_: str) -> Any:
    if type_ == "map":
        return {}
    if type_.endswith("*"):
        return []
    if type_.endswith("?"):
        return None
    return EMPTY.get(type_)


def _value(type_: str, content: Any) -> Any:
    if type_ in PARTS:
        return _read(type_, PARTS[type_], content)
    if type_ == "int64":
        return _signed(content)
    if type_ == "bool":
        return bool(content)
    if type_ == "string":
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise BadFrame("a text is no UTF-8") from None
    return content


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Each field's number, its wire type and its content."""
    place = 0
    while place < len(data):
        tag, place = _number(data, place, TAG)
        wire = tag & 7
        if wire == 0:
            content: Any
            content, place = _number(data, place)
        elif wire in (1, 2, 5):
            length = {1: 8, 5: 4}.get(wire)
            if length is None:
                length, place = _number(data, place)
            content, place = data[place : place + length], place + length
            if place > len(data):
                raise BadFrame("it ends too early")
            content = struct.unpack("<d", content)[0] if wire == 1 else content
        else:
            raise BadFrame(f"there is no wire type {wire}")
        if not tag >> 3:
            raise BadFrame("a field has the number 0")
        yield tag >> 3, wire, content


def _number(data: bytes, place: int, bits: int = 64) -> tuple[int, int]:
    value = 0
    for step in range(-(-bits // 7)):
        if place >= len(data):
            raise BadFrame("it ends too early")
        value |= (data[place] & 127) << 7 * step
        place += 1
        if data[place - 1] < 128:
            if value >= 2**bits and bits == TAG:
                break
            return value & (2**bits - 1), place
    raise BadFrame("a number is too long")


def _varints(data: bytes) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _number(data, place)
        yield value


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _layout(text: str) -> list[tuple[str, str]]:
    return [(name, type_) for name, _, type_ in (each.partition(":") for each in text.split())]
