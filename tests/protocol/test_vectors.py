"""The vectors beside docs/protocol.md are what the code writes and reads, and so does a second client, written from the page.

After a new message or field: write its value into the file, and `HANSA_WRITE=1 pytest tests/protocol/test_vectors.py` adds the
frames that are missing. It never changes one that is there.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib
import json
import math
import os
import shutil
import typing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hansa.errors
from hansa.core.keys import Key
from hansa.core.metrics import Metrics
from hansa.core.work import settings_from_json, settings_to_json
from hansa.data.shards import ShardFacts
from hansa.errors import CertificateError, HansaError, InputError, ProtocolError
from hansa.experiment.manifest import Manifest
from hansa.pki import Invitation, verified
from hansa.protocol import codec, schema, wire
from hansa.protocol.peer import Peer, Role
from hansa.transport import faults
from hansa.transport.websocket import framing

FILE = Path(__file__).parents[2] / "docs" / "protocol-vectors.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
LATER = {"F8_E4M3", "F8_E5M2", "BF16"}
"""Types of numbers that the second client does without, as NumPy does."""


@dataclasses.dataclass(frozen=True)
class Second:
    """The modules of the second client, which import nothing of Hansa."""

    wire: Any
    trees: Any
    framing: Any
    signed: Any
    choices: Any


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Second:
    """The second client's own code."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    names = [field.name for field in dataclasses.fields(Second)]
    return Second(*(importlib.import_module(f"second_client.{name}") for name in names))


def vectors(*names: str) -> Any:
    """A test for each vector of these lists."""
    found = [
        pytest.param(vector, id=f"{name}-{vector.get('about', number)}")
        for name in names
        for number, vector in enumerate(VECTORS[name])
    ]
    return pytest.mark.parametrize("vector", found)


def message(kind: Any, value: dict[str, Any]) -> Any:
    """The message that a vector's value is."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: field(*schema.part_of(hints[name]), each) for name, each in value.items()})


def field(count: str, held: Any, value: Any) -> Any:
    """The content of one field."""
    if count == "many":
        return tuple(field("one", held, each) for each in value)
    if value is None or count == "map":
        return value
    if dataclasses.is_dataclass(held):
        return message(held, value)
    return bytes.fromhex(value) if held is bytes else held(value)


def value(content: Any) -> Any:
    """A message as a vector has it; also one of the second client's."""
    if dataclasses.is_dataclass(content):
        return {each.name: value(getattr(content, each.name)) for each in dataclasses.fields(content)}
    if isinstance(content, dict):
        return {name: value(each) for name, each in content.items()}
    if isinstance(content, list | tuple):
        return [value(each) for each in content]
    return content.hex() if isinstance(content, bytes) else content


def plain(second: Second, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    """A vector's value as the second client takes it: bytes are bytes."""
    layout = second.wire.MESSAGES[second.wire.NUMBERS[kind]][1].split()
    binary = {each.partition(":")[0] for each in layout if each.endswith(":bytes")}
    return {name: bytes.fromhex(each) if name in binary else each for name, each in value.items()}


def written(vectors: dict[str, Any]) -> str:
    """The file's text: a vector a line."""

    def listed(each: Any) -> str:
        if not isinstance(each, list):
            return json.dumps(each, ensure_ascii=False)
        return "[\n" + ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in each) + "\n ]"

    return "{\n" + ",\n".join(f" {json.dumps(name)}: {listed(each)}" for name, each in vectors.items()) + "\n}\n"


if os.environ.get("HANSA_WRITE"):
    for lacking in VECTORS["messages"]:
        lacking.setdefault("frame", wire.encode(message(schema.KINDS[lacking["kind"]], lacking["value"])).hex())
    FILE.write_text(written(VECTORS), encoding="utf-8")


# --- frames


def test_every_message_has_vectors_and_every_choice_and_field_is_in_one() -> None:
    assert {vector["kind"] for vector in VECTORS["messages"]} == {
        schema.snake(each.__name__) for each in schema.MESSAGES
    }
    for kind in schema.MESSAGES:
        values = [each["value"] for each in VECTORS["messages"] if each["kind"] == schema.snake(kind.__name__)]
        for name, hint in typing.get_type_hints(kind).items():
            held = schema.part_of(hint)[1]
            said = [each[name] for each in values]
            if isinstance(held, type) and issubclass(held, enum.Enum):
                assert set(said) == set(held), f"{kind.__name__}.{name}"
            else:
                assert any(said), f"{kind.__name__}.{name} is set in no vector"


@vectors("messages")
def test_a_message_has_these_bytes_and_no_others(vector: dict[str, Any], second: Second) -> None:
    frame, kind = bytes.fromhex(vector["frame"]), vector["kind"]
    assert wire.encode(message(schema.KINDS[kind], vector["value"])) == frame
    assert second.wire.encode(kind, plain(second, kind, vector["value"])) == frame


@vectors("messages", "read")
def test_a_frame_is_read_as_this_message(vector: dict[str, Any], second: Second) -> None:
    frame = bytes.fromhex(vector["frame"])
    assert value(wire.decode(frame)) == vector["value"]
    kind, fields = second.wire.decode(frame)
    assert (kind, value(fields)) == (vector["kind"], vector["value"])


@vectors("refused")
def test_a_bad_frame_is_refused(vector: dict[str, Any], second: Second) -> None:
    frame = bytes.fromhex(vector["frame"])
    with pytest.raises(ProtocolError):
        wire.decode(frame)
    with pytest.raises(second.wire.BadFrame):
        second.wire.decode(frame)


def test_a_frame_that_is_too_large_is_refused(second: Second) -> None:
    frame = bytes.fromhex(next(each["frame"] for each in VECTORS["messages"] if each["kind"] == "overview"))
    large = frame + b"\xfa\x07" + b"\xff\xff\xff\x01" + bytes(2**22 - 1)
    with pytest.raises(ProtocolError, match="too large"):
        wire.decode(large)
    with pytest.raises(second.wire.BadFrame):
        second.wire.decode(large)


# --- WebSocket messages


@vectors("websocket")
def test_a_websocket_message_is_written_and_read(vector: dict[str, Any], second: Second) -> None:
    data, content = bytes.fromhex(vector["message"]), bytes.fromhex(vector["content"])
    kind, stream = vector["kind"], vector["stream"]
    made: dict[str, framing.Message] = {
        "PART": framing.Data(stream, content, last=False),
        "DATA": framing.Data(stream, content),
        "END": framing.End(stream),
        "FAILED": framing.Failed(stream, content),
        "CREDIT": framing.Credit(stream, int.from_bytes(content, "big")),
        "CANCEL": framing.Cancel(stream),
    }
    ours = made[kind] if kind in made else framing.Open(stream, framing.Method[vector["method"].upper()])
    assert framing.encode(ours) == data
    assert framing.decode(data) == ours
    method = vector.get("method", "")
    assert second.framing.encode(kind, stream, content, method) == data
    assert second.framing.decode(data) == (kind, stream, content, method)


@vectors("websocket_refused")
def test_a_bad_websocket_message_is_refused(vector: dict[str, Any], second: Second) -> None:
    data = bytes.fromhex(vector["message"])
    with pytest.raises(ProtocolError):
        framing.decode(data)
    with pytest.raises(second.framing.BadMessage):
        second.framing.decode(data)


def test_the_exchange_is_made_of_whole_messages(second: Second) -> None:
    said = []
    for step in VECTORS["exchange"]:
        kind, _, content, method = second.framing.decode(bytes.fromhex(step["websocket"]))
        assert framing.encode(framing.decode(bytes.fromhex(step["websocket"]))).hex() == step["websocket"]
        if "frame" in step:
            assert content.hex() == step["frame"]
            assert wire.encode(message(schema.KINDS[step["kind"]], step["value"])).hex() == step["frame"]
            assert second.wire.decode(content)[0] == step["kind"]
        said.append(step.get("kind") or f"{kind} {method}".strip())
    assert said[:5] == ["OPEN session", "hello", "welcome", "beat", "offer"]
    assert said[-3:] == ["result", "settled", "over"]


# --- trees


@vectors("trees", "trees_read")
def test_a_file_is_read_as_these_arrays(vector: dict[str, Any], second: Second) -> None:
    data = bytes.fromhex(vector["file"])
    assert hashlib.sha256(data).hexdigest() == vector["sha256"]
    tree, codes = codec.decode(data), {leaf["dtype"] for leaf in vector["leaves"].values()}
    expected = {name: (leaf["shape"], leaf["data"]) for name, leaf in vector["leaves"].items()}
    assert {name: (list(leaf.shape), leaf.tobytes().hex()) for name, leaf in tree.items()} == expected
    if not codes & LATER:
        theirs = second.trees.decode(data)
        assert {name: (list(leaf.shape), leaf.tobytes().hex()) for name, leaf in theirs.items()} == expected
        assert codec.digest(codec.decode(second.trees.encode(theirs))) == codec.digest(tree)


@vectors("trees")
def test_a_tree_has_one_file(vector: dict[str, Any]) -> None:
    assert codec.encode(codec.decode(bytes.fromhex(vector["file"]))).hex() == vector["file"]


def test_every_type_of_number_is_in_a_tree() -> None:
    held = {leaf["dtype"] for tree in VECTORS["trees"] for leaf in tree["leaves"].values()}
    assert held == set(codec._DTYPES)


@vectors("trees_refused")
def test_a_bad_tree_is_refused(vector: dict[str, Any], second: Second, tmp_path: Path) -> None:
    data = bytes.fromhex(vector["file"])
    (tmp_path / "tree").write_bytes(data)
    with pytest.raises(InputError):
        codec.decode(data)
    with pytest.raises(InputError):
        codec.read(tmp_path / "tree")
    with pytest.raises(second.trees.BadTree):
        second.trees.decode(data)


# --- JSON documents


@vectors("errors")
def test_an_error_has_these_bytes(vector: dict[str, Any]) -> None:
    error = getattr(hansa.errors, vector["kind"])(vector["what"], where=vector["where"], hint=vector["hint"])
    assert faults.encoded(error).hex() == vector["bytes"]
    read = faults.decoded(bytes.fromhex(vector["bytes"]))
    assert (type(read), read.what, read.where, read.hint) == (type(error), error.what, error.where, error.hint)
    assert json.loads(bytes.fromhex(vector["bytes"])) == {
        name: vector[name] for name in ("kind", "what", "where", "hint")
    }


@vectors("shards")
def test_a_director_takes_these_announcements(vector: dict[str, Any]) -> None:
    assert ShardFacts.from_json(vector).to_json() == vector


@vectors("settings")
def test_settings_are_read_and_written(vector: dict[str, Any]) -> None:
    settings = settings_from_json(vector["json"])
    assert settings_to_json(settings) == vector["json"]
    assert {name: each.hex() for name, each in settings.items() if isinstance(each, bytes)} == vector["bytes"]


@vectors("metrics")
def test_metrics_have_these_values(vector: dict[str, Any]) -> None:
    numbers = Metrics.from_json(vector["json"]).numbers()
    assert {name: None if math.isnan(each) else each for name, each in numbers.items()} == vector["values"]


@vectors("manifests")
def test_a_manifest_has_one_form(vector: dict[str, Any]) -> None:
    text = vector["text"].encode()
    assert Manifest.decode(text).encode() == text
    assert Manifest.decode(text).hash == hashlib.sha256(text).hexdigest() == vector["sha256"]


# --- signatures, invitations, keys


def signer(vector: dict[str, Any]) -> Peer:
    """Whoever signed it, if an Envoy goes by that."""
    signed = VECTORS["signatures"]
    peer = verified(
        vector["certificate"].encode(),
        signed["authority"].encode(),
        signed["signed"].encode(),
        bytes.fromhex(vector["signature"]),
        now=datetime.fromisoformat(signed["at"]),
    )
    if peer.role not in (Role.USER, Role.ADMIN):
        raise CertificateError("it is no user's")
    return peer


def test_good_signatures_are_taken_and_bad_ones_refused() -> None:
    for vector in VECTORS["signatures"]["good"]:
        assert (signer(vector).name, signer(vector).role) == (vector["name"], vector["role"])
    for vector in VECTORS["signatures"]["bad"]:
        with pytest.raises(CertificateError):
            signer(vector)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the second client checks signatures with openssl")
def test_the_second_client_judges_signatures_alike(second: Second) -> None:
    signed = VECTORS["signatures"]

    def judged(vector: dict[str, Any]) -> tuple[str, str]:
        found: tuple[str, str] = second.signed.signer(
            vector["certificate"].encode(),
            signed["authority"].encode(),
            signed["signed"],
            bytes.fromhex(vector["signature"]),
            datetime.fromisoformat(signed["at"]),
        )
        return found

    for vector in signed["good"]:
        assert judged(vector) == (vector["role"], vector["name"])
    for vector in signed["bad"]:
        with pytest.raises(second.signed.NotSigned):
            judged(vector)


@vectors("invitations")
def test_an_invitation_is_read(vector: dict[str, Any], second: Second) -> None:
    invitation = Invitation.from_text(vector["text"])
    theirs = second.signed.invitation(vector["text"])
    for name in ("token", "name", "role", "address"):
        assert getattr(invitation, name) == theirs[name] == vector[name]
    assert invitation.to_text() == vector["text"]


@vectors("keys")
def test_a_key_gives_these_numbers(vector: dict[str, Any], second: Second) -> None:
    key = Key(vector["seed"], tuple(vector["path"]))
    assert (key.digest().hex(), str(key.integer(128))) == (vector["digest"], vector["integer"])
    for generator in (key.generator(), second.choices.generator(vector["seed"], *vector["path"])):
        assert generator.permutation(8).tolist() == vector["permutation"]


def test_a_bad_error_is_no_crash() -> None:
    assert isinstance(faults.decoded(b"[]"), HansaError)
    assert np.isnan(Metrics.from_json(VECTORS["metrics"][0]["json"])["nan"].value)
