"""The bytes of every message and fact, fixed: what is in a journal, or comes from an older Envoy, is read for ever.

A change of the bytes of a line is a new version of the protocol. `golden.txt` has a line for each kind, its name and its bytes;
`HANSA_GOLDEN=new` appends the lines that are missing, and never changes one.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

import hansa.protocol
from hansa.protocol import schema, wire
from hansa.protocol.messages import Blob

GOLDEN = Path(__file__).with_name("golden.txt")
PROTO = Path(hansa.protocol.__file__).with_name("hansa.proto")


def example(kind: Any) -> Any:
    """The value of a kind with every field set, and no two fields alike; it depends on names and places only."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return kind(**{f.name: filled(f"{kind.__name__}.{f.name}", n, hints[f.name]) for n, f in enumerate(fields, 1)})


def filled(name: str, number: int, hint: Any) -> Any:
    """A value for a field."""
    count, held = schema.part_of(hint)
    match count:
        case "many":
            return tuple(single(f"{name}.{place}", 10 * number + place, held) for place in (1, 2))
        case "map":
            return {f"{name}.{place}": single(f"{place}", 10 * number + place, held) for place in (1, 2)}
    return single(name, number, held)


def single(name: str, number: int, held: Any) -> Any:
    """One value of a type."""
    if held is Blob:
        return Blob(f"{number:02x}" * 32, 1000 + number)
    if dataclasses.is_dataclass(held):
        return example(held)
    if issubclass(held, enum.Enum):
        return list(held)[number % len(held)]
    values: dict[type, Any] = {
        str: f"{name} é",
        int: 2**33 + number,
        float: number + 0.125,
        bool: True,
        bytes: bytes([0, 255, number]),
    }
    return values[held]


def golden() -> dict[str, bytes]:
    """The lines of `golden.txt`."""
    if not GOLDEN.exists():
        return {}
    lines = GOLDEN.read_text(encoding="ascii").splitlines()
    return {name: bytes.fromhex(data) for name, data in (line.split() for line in lines)}


if os.environ.get("HANSA_GOLDEN") == "new":
    with GOLDEN.open("a", encoding="ascii") as lines:
        for missing in [kind for kind in schema.KINDS if kind not in golden()]:
            lines.write(f"{missing} {wire.encode(example(schema.KINDS[missing])).hex()}\n")


def test_every_kind_has_a_line_in_the_order_of_the_schema() -> None:
    assert list(golden()) == list(schema.KINDS)


@pytest.mark.parametrize("name", schema.KINDS)
def test_a_value_gives_its_golden_bytes(name: str) -> None:
    assert wire.encode(example(schema.KINDS[name])).hex() == golden()[name].hex()


@pytest.mark.parametrize("name", schema.KINDS)
def test_golden_bytes_give_their_value(name: str) -> None:
    assert wire.decode(golden()[name]) == example(schema.KINDS[name])


@pytest.mark.parametrize("name", schema.KINDS)
def test_an_example_sets_every_field(name: str) -> None:
    value = example(schema.KINDS[name])
    assert all(getattr(value, field.name) for field in dataclasses.fields(value))


def test_the_proto_file_says_what_the_values_say(tmp_path: Path) -> None:
    compiled = tmp_path / "hansa.pb"
    # In a process of its own: the compiler's C++ and TensorFlow's, where another test has loaded that, cannot be in one.
    arguments = ["-m", "grpc_tools.protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={compiled}", PROTO.name]
    subprocess.run([sys.executable, *arguments], check=True)
    (found,) = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    expected = schema.file()
    for file in (found, expected):
        for message in file.message_type:
            for field in (*message.field, *(each for entry in message.nested_type for each in entry.field)):
                field.ClearField("json_name")
    assert str(found) == str(expected)
