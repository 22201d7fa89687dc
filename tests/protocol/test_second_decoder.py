"""Two codecs, one written from docs/protocol.md alone: they write the same bytes, and read the same from any bytes."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.errors import ProtocolError
from hansa.protocol import schema, wire
from hansa.protocol.messages import Blob

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS: dict[type, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
}
SHA = st.text("0123456789abcdef", min_size=64, max_size=64)


@pytest.fixture(scope="module")
def second() -> Iterator[Any]:
    """The other codec."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("second_client.wire")


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Every value of a field's type."""
    count, held = schema.part_of(hint)
    if held is Blob:
        one: st.SearchStrategy[Any] = st.builds(Blob, SHA, st.integers(0, 2**63 - 1))
    elif dataclasses.is_dataclass(held):
        one = messages(held)
    elif issubclass(held, enum.Enum):
        one = st.sampled_from(list(held))
    else:
        one = SCALARS[held]
    match count:
        case "many":
            return st.lists(one, max_size=3).map(tuple)
        case "map":
            return st.dictionaries(TEXT, one, max_size=3)
        case "optional":
            return st.none() | one
    return one


def messages(kind: Any) -> st.SearchStrategy[Any]:
    """Every message of a kind."""
    return st.builds(kind, **{name: values(hint) for name, hint in typing.get_type_hints(kind).items()})


def plain(content: Any) -> Any:
    """A message as the other codec has it."""
    if dataclasses.is_dataclass(content):
        return {field.name: plain(getattr(content, field.name)) for field in dataclasses.fields(content)}
    if isinstance(content, tuple):
        return [plain(each) for each in content]
    if isinstance(content, float) and math.isnan(content):
        return "not a number"
    return dict(content) if isinstance(content, dict) else content


ANY = st.sampled_from(schema.MESSAGES).flatmap(messages)


@settings(max_examples=300)
@given(message=ANY)
def test_both_write_the_same_bytes_and_read_them(second: Any, message: Any) -> None:
    frame, kind = wire.encode(message), schema.snake(type(message).__name__)
    theirs = second.encode(kind, plain(message))
    assert second.decode(frame) == (kind, plain(message))
    assert wire.decode(theirs) == message
    if len(getattr(message, "labels", {})) < 2:  # in which order a map's entries stand, the page leaves open
        assert theirs == frame


@settings(max_examples=500)
@given(frame=ANY.map(wire.encode), change=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=4))
def test_both_read_the_same_from_bytes_that_were_altered(
    second: Any, frame: bytes, change: list[tuple[int, bytes]]
) -> None:
    for place, new in change:
        place %= len(frame) + 1
        frame = frame[:place] + new + frame[place + len(new) :]
    try:
        kind, fields = second.decode(frame)
    except second.BadFrame:
        return
    try:
        message = wire.decode(frame)
    except ProtocolError as problem:
        pytest.fail(f"the second client reads {kind} in {frame.hex()}, and Hansa does not: {problem}")
    assert schema.snake(type(message).__name__) == kind
    assert plain(message) == {name: "not a number" if each != each else each for name, each in fields.items()}


@settings(max_examples=300)
@given(frame=ANY.map(wire.encode), cut=st.integers(1, 400))
def test_both_refuse_what_was_cut_off(second: Any, frame: bytes, cut: int) -> None:
    part = frame[: max(0, len(frame) - cut)]
    refused = []
    for decode, refusal in ((wire.decode, ProtocolError), (second.decode, second.BadFrame)):
        try:
            decode(part)
        except refusal:
            refused.append(decode)
    assert len(refused) in (0, 2)
