"""docs/protocol.md says of every message, field, number, type, kind and limit what the code says, and its example is true."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import typing
from pathlib import Path
from typing import Any

import pytest

import hansa.errors
from hansa.core.gate import HEAVIEST
from hansa.core.metrics import Metrics
from hansa.data.shards import LONGEST, ShardFacts
from hansa.experiment import manifest
from hansa.pki import invitation
from hansa.protocol import codec, messages, rights, schema, wire
from hansa.protocol.peer import Role
from hansa.runtime.director.core import SILENCE
from hansa.runtime.director.service import GREETING
from hansa.runtime.shelf import WHILE
from hansa.transport import backoff, faults, port
from hansa.transport.grpc import wire as grpc_wire
from hansa.transport.websocket import framing, pulse

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "protocol.md").read_text(encoding="utf-8")
VECTORS: dict[str, Any] = json.loads((DOCS / "protocol-vectors.json").read_text(encoding="utf-8"))

BITS = {str: "string", int: "int64", float: "double", bool: "bool", bytes: "bytes"}


def section(title: str) -> str:
    """What stands below a heading, up to the next of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,}} |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no section {title!r}"
    return found[2]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of its tables, without their heads."""
    tables = re.findall(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n?)*)", text, re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def name(cell: str) -> str:
    """The one name in backquotes that a cell begins with."""
    found = re.match(r"`([^`]+)`", cell)
    assert found is not None, cell
    return found[1]


def shown(hint: Any) -> str:
    """A field's type as the page writes it."""
    count, held = schema.part_of(hint)
    if isinstance(held, type) and issubclass(held, enum.Enum):
        text = f"string: {', '.join(held)}"
    else:
        text = BITS.get(held) or held.__name__
    return {"many": f"repeated {text}", "optional": f"optional {text}", "map": f"map<string, {text}>"}.get(count, text)


@pytest.mark.parametrize("kind", [messages.Blob, messages.Holding, *schema.MESSAGES], ids=lambda kind: kind.__name__)
def test_a_table_names_every_field_with_its_number_and_type(kind: Any) -> None:
    number = "" if kind in schema.PARTS else f" ({schema.FIRST_MESSAGE + schema.MESSAGES.index(kind)})"
    hints = typing.get_type_hints(kind)
    expected = [
        [str(n), f"`{each.name}`", shown(hints[each.name])] for n, each in enumerate(dataclasses.fields(kind), 1)
    ]
    found = rows(section(f"{kind.__name__}{number}"))
    assert [row[:3] for row in found] == expected
    assert all(row[3] for row in found), "a field has no meaning"


def test_no_other_message_and_no_fact_has_a_section() -> None:
    titled = re.findall(r"^#### (\w+)", PAGE, re.MULTILINE)
    assert sorted(titled) == sorted(each.__name__ for each in (*schema.MESSAGES, messages.Blob, messages.Holding))
    assert not {each.__name__ for each in schema.FACTS} & set(titled)


def test_whoever_may_say_a_message_finds_it_in_the_right_part() -> None:
    parts = re.split(r"^### ", section_of("Messages"), flags=re.MULTILINE)
    found = {part.splitlines()[0]: set(re.findall(r"^#### (\w+)", part, re.MULTILINE)) for part in parts[1:]}
    users_alone = {each.__name__ for each, roles in rights.RIGHTS.items() if not roles & {Role.ENVOY, Role.NEWCOMER}}
    assert found["In calls, of users and admins"] == users_alone | {"Submitted"}


def section_of(title: str) -> str:
    """A chapter with all that is below it."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_version_is_the_one_that_is_spoken() -> None:
    assert f"The version described is **{messages.VERSIONS[0]}**." in PAGE
    assert VECTORS["messages"][0]["value"]["versions"] == list(messages.VERSIONS)


def test_the_calls_and_the_kinds_of_websocket_messages_are_the_code_s() -> None:
    calls = [name(row[0]) for row in rows(section("Calls"))]
    assert {each.upper() for each in calls} == {each.name for each in framing.Method}
    for row in rows(section("WebSocket")):
        (vector, *_) = [each for each in VECTORS["websocket"] if each["kind"] == name(row[1])]
        assert vector["message"].startswith(f"{int(row[0]):02x}")
    methods = ", ".join(f"{each.value} {each.name.lower()}" for each in framing.Method)
    assert methods in section("WebSocket")
    assert f"service is `{grpc_wire.SERVICE}`" in section("gRPC")
    assert f"`{grpc_wire.FAULT}`" in section("gRPC")
    assert f"`{grpc_wire.PEER}: envoy/NAME`" in section("gRPC")


def test_documents_have_the_keys_that_are_named() -> None:
    keys = {key for row in rows(section("The manifest")) for key in re.findall(r"`(\w+)`", row[0])}
    assert keys == {field.name for field in dataclasses.fields(manifest.Manifest)}
    assert {name(row[0]) for row in rows(section("Shard facts"))} == {
        field.name for field in dataclasses.fields(ShardFacts)
    }
    invited = {key for row in rows(section("Certificates and enrolment")) for key in re.findall(r"`(\w+)`", row[0])}
    assert invited == invitation._FIELDS
    assert f"`{invitation.FORMAT}`" in PAGE
    assert {name(row[0]) for row in rows(section("Vectors")) for row in [row]} <= {
        *VECTORS,
        "trees`, `trees_read",
    }


def test_the_documents_that_are_shown_are_read() -> None:
    shown = "\n".join(line[4:] for line in section("Shard facts").splitlines() if line.startswith("    "))
    assert ShardFacts.from_json(json.loads(shown)).clients == {"carol": {"train": 120, "test": 30}}
    shown = "\n".join(line[4:] for line in section("Metrics").splitlines() if line.startswith("    "))
    document = json.loads(shown)
    assert Metrics.from_json(document).to_json() == document
    error = "\n".join(line[4:] for line in section("Errors").splitlines() if line.startswith("    "))
    assert type(faults.decoded(error.encode())).__name__ == json.loads(error)["kind"]


def test_every_error_and_type_of_number_that_is_named_exists() -> None:
    for row in rows(section("Errors")):
        assert issubclass(getattr(hansa.errors, name(row[0])), hansa.errors.HansaError)
    codes = re.findall(
        r"`([A-Z]+\d*(?:_E\dM\d)?)`",
        " ".join(section("Trees").split()).partition("The codes are")[2].partition(". The arrays")[0],
    )
    assert sorted(codes) == sorted(codec._DTYPES)
    roles = re.search(r"The\s+roles are ([^.]*)\.", PAGE)
    assert roles is not None
    assert re.findall(r"`(\w+)`", roles[1]) == list(Role)


def test_limits_are_the_code_s() -> None:
    said = {row[0]: row[1] for row in rows(section("Limits"))}
    mib = 2**20
    assert said["a frame or a chunk"] == f"{port.FRAME_LIMIT // mib} MiB; chunks of {port.CHUNK // mib} MiB travel fast"
    assert wire.LIMIT == port.FRAME_LIMIT
    assert said["a head of an upload or a download"] == f"{port.HEAD_LIMIT // 1024} KiB"
    sizes = [manifest.MANIFEST_LIMIT, manifest.FILE_LIMIT, manifest.TOTAL_LIMIT]
    bounds = "; ".join([*(f"{size // mib} MiB" for size in sizes), str(manifest.FILES_LIMIT)])
    assert said["a manifest; one of its files; all of them; how many"] == bounds
    assert said["an error"] == f"{faults.FAULT_LIMIT // 1024} KiB"
    assert said["a weight"].startswith(f"{HEAVIEST:,} times")
    assert said["the first message of a session"] == f"within {GREETING:g} s"
    assert said["calls at once on one connection"] == str(framing.STREAMS)
    websocket = " ".join(section("WebSocket").split())
    assert f"begins with a credit of {framing.WINDOW // mib} MiB" in websocket
    assert f"No content is longer than {framing.PIECE // 1024} KiB" in websocket
    assert (pulse.PING, pulse.PONG) == (20.0, 10.0)
    assert (grpc_wire.PING, grpc_wire.PONG) == (20_000, 10_000)
    assert (backoff.FIRST, backoff.LONGEST, SILENCE, WHILE) == (0.1, 15.0, 3, 3600.0)
    assert f"at most {LONGEST:,} characters" in section("Shard facts")


def test_the_example_is_the_exchange_of_the_vectors() -> None:
    """The bytes on the left, message by message; what is too long to show is cut off with dots."""
    blocks = re.split(r"^(Envoy|Director): .*$", section("One exchange, byte by byte"), flags=re.MULTILINE)
    who, dumps = blocks[1::2], blocks[2::2]
    assert [each.lower() for each in who] == [step["from"] for step in VECTORS["exchange"]]
    for dump, step in zip(dumps, VECTORS["exchange"], strict=True):
        found = "".join(re.match(r" {4} *((?:[0-9a-f]{2,} ?)*\.{0,3})", line)[1] for line in dump.splitlines() if line)  # type: ignore[index]
        data = found.replace(" ", "")
        if data.endswith("..."):
            assert step["websocket"].startswith(data[:-3])
        else:
            assert data == step["websocket"]


def test_the_blobs_of_the_example_are_what_their_names_say() -> None:
    import hashlib

    sent = [bytes.fromhex(step["websocket"]) for step in VECTORS["exchange"] if "kind" not in step]
    contents = [data[5:] for data in sent if data[0] == 3]
    named = [step["value"] for step in VECTORS["exchange"] if step.get("kind") in ("offer", "assign", "upload")]
    blobs = [value.get("manifest") or value.get("broadcast") or value.get("blob") for value in named]
    assert [(hashlib.sha256(each).hexdigest(), len(each)) for each in contents] == [
        (blob["sha256"], blob["size"]) for blob in blobs
    ]
