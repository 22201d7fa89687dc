"""Nothing that is read, from the wire or from disk, can execute: no code for it, and what is fed to the readers stays inert."""

from __future__ import annotations

import ast
import json
import marshal
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import hansa
from hansa.data.documents import schema_from_json
from hansa.data.shards import ShardFacts
from hansa.errors import HansaError
from hansa.experiment.manifest import Manifest
from hansa.experiment.snapshot import thaw
from hansa.pki import Invitation
from hansa.protocol import codec, wire
from hansa.runtime.children.hansa_child import wire as channel

SOURCES = sorted(Path(hansa.__file__).parent.rglob("*.py"))
EXECUTING = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "joblib", "jsonpickle"}
CALLS = {"eval", "exec", "compile"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(SOURCES[0].parent)))
def test_no_source_imports_what_executes_when_it_reads(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & EXECUTING
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in EXECUTING
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in CALLS
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.target), "w")


def read_file(data: bytes, folder: Path) -> object:
    path = folder / "tree.safetensors"
    path.write_bytes(data)
    return codec.read(path)


READERS: dict[str, Callable[[bytes, Path], object]] = {
    "a frame, or a record of a journal": lambda data, _: wire.decode(data),
    "a tree": lambda data, _: codec.decode(data),
    "a tree's file": read_file,
    "a manifest": lambda data, _: Manifest.decode(data),
    "a child's message": lambda data, _: channel.decode(data),
    "an announcement": lambda data, _: ShardFacts.from_json(json.loads(data)),
    "a schema": lambda data, _: schema_from_json(json.loads(data)),
    "a snapshot": lambda data, _: thaw(json.loads(data), []),
    "an invitation": lambda data, _: Invitation.from_text(data.decode("latin-1")),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_executes_elsewhere_is_refused_here_and_does_nothing(reader: str, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    code = compile(f"open({str(target)!r}, 'w')", "bomb", "exec")
    tagged = f"!!python/object/apply:builtins.open [{target}, w]\n".encode()
    for data in (pickle.dumps(Bomb(target)), pickle.dumps(Bomb(target), 0), marshal.dumps(code), tagged):
        with pytest.raises((HansaError, ValueError)):
            READERS[reader](data, tmp_path)
    assert not target.exists()


def test_the_bomb_goes_off_where_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "executed"))).close()  # noqa: S301 - so that the test above can fail
    assert (tmp_path / "executed").exists()


def test_a_snapshot_names_dataclasses_and_nothing_else() -> None:
    for name in ("os:system", "subprocess:Popen", "builtins:eval", "pathlib:Path"):
        document = {"format": 1, "state": {"$": "dataclass", "type": name, "fields": [["args", "true"]]}}
        with pytest.raises(HansaError):
            thaw(document, [])
