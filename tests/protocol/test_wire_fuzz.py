"""The codec against whatever may come: every value survives the way, and no bytes do more than raise a `ProtocolError`."""

from __future__ import annotations

import dataclasses
import enum
import functools
import typing
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hansa.errors import ProtocolError
from hansa.protocol import messages, schema, wire
from hansa.protocol.messages import Blob, Hello, Over, Report

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS: dict[type, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: INT64,
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
}
BLOBS = st.builds(Blob, st.text("0123456789abcdef", min_size=64, max_size=64), st.integers(0, 2**63 - 1))


@functools.cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Every value that a type can have."""
    if kind is Blob:
        return BLOBS
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return st.builds(kind, **{name: held(hint) for name, hint in typing.get_type_hints(kind).items()})
    if issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    return SCALARS[kind]


def held(hint: Any) -> st.SearchStrategy[Any]:
    """Every value that a field can have."""
    count, kind = schema.part_of(hint)
    match count:
        case "many":
            return st.lists(values(kind), max_size=3).map(tuple)
        case "map":
            return st.dictionaries(TEXT, values(kind), max_size=3)
        case "optional":
            return st.none() | values(kind)
    return values(kind)


ANY = st.sampled_from(list(schema.KINDS.values())).flatmap(values)
FRAMES = ANY.map(wire.encode)


def decoded(data: bytes) -> object:
    """What bytes say, or None where they are refused in the way that is promised; what they say can be said again."""
    try:
        value = wire.decode(data)
    except ProtocolError:
        return None
    assert type(value) in schema.KINDS.values()
    again = wire.encode(value)
    assert wire.encode(wire.decode(again)) == again  # bytes, since NaN is not equal to itself
    return typing.cast(object, value)


@pytest.mark.parametrize("kind", schema.KINDS.values(), ids=schema.KINDS)
def test_every_value_survives_the_way(kind: Any) -> None:
    @settings(max_examples=40)
    @given(values(kind))
    def survives(value: Any) -> None:
        data = wire.encode(value)
        assert wire.decode(data) == value
        assert wire.encode(wire.decode(data)) == data

    survives()


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x08\x01")
@example(b"\x08\x01\x0b" * 50)  # groups in groups
def test_arbitrary_bytes_are_refused_or_say_something(data: bytes) -> None:
    decoded(data)


@given(FRAMES, st.data())
def test_a_truncated_frame_is_refused_or_says_something(frame: bytes, data: st.DataObject) -> None:
    decoded(frame[: data.draw(st.integers(0, len(frame)))])


@given(FRAMES, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_frame_is_refused_or_says_something(frame: bytes, changes: list[tuple[int, int]]) -> None:
    mutated = bytearray(frame)
    for place, byte in changes:
        mutated[place % len(mutated)] = byte
    decoded(bytes(mutated))


@given(FRAMES, FRAMES, st.binary(max_size=8))
def test_frames_in_a_row_are_refused_or_say_something(one: bytes, other: bytes, between: bytes) -> None:
    decoded(one + between + other)


@given(ANY, st.integers(-(2**40), 2**40).filter(lambda version: version not in messages.VERSIONS))
def test_another_version_is_refused_by_its_number(value: Any, version: int) -> None:
    with pytest.raises(ProtocolError, match=rf"of version {version} of"):
        wire.decode(wire.encode(value, version))


def test_what_is_too_large_is_neither_sent_nor_read() -> None:
    large = Report("x" * wire.LIMIT)
    with pytest.raises(ProtocolError, match="too large to send"):
        wire.encode(large)
    with pytest.raises(ProtocolError, match="too large; at most"):
        wire.decode(b"\x00" * (wire.LIMIT + 1))


@pytest.mark.parametrize(
    "value",
    [
        Over("\ud800"),
        Hello((2**63,), "", 0.0, ""),
        Hello((), "", 0.0, "", {"a": "\udfff"}),
        Report(typing.cast(str, 3)),
    ],
    ids=["surrogate", "too large a number", "surrogate in a label", "a number for a text"],
)
def test_what_a_field_cannot_hold_is_refused_at_once(value: object) -> None:
    with pytest.raises(ProtocolError, match="cannot hold this"):
        wire.encode(value)


def test_a_kind_of_the_future_is_refused() -> None:
    with pytest.raises(ProtocolError, match="kind that is not known"):
        wire.decode(b"\x08\x01" + b"\xfa\x3f\x00")  # field 1023, empty
