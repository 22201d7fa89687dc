"""Manifests: one form each, and every way in which bytes are none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hansa.errors import InputError
from hansa.experiment.manifest import (
    FILE_LIMIT,
    FILES_LIMIT,
    MANIFEST_LIMIT,
    InitialModel,
    Manifest,
    SourceFile,
)

HASH = "ab" * 32
FILES = (SourceFile("experiment.py", HASH, 12), SourceFile("pkg/__init__.py", "0" * 64, 0))
PLAIN = Manifest("mnist", FILES, InitialModel(HASH, 99))
FULL = replace(
    PLAIN,
    requirements=("scikit-learn>=1.4", 'torch>=2; python_version < "4"'),
    envoys=("north", "south"),
    labels={"modality": "x-ray", "country": "Österreich"},
    at_least=2,
    seed=-7,
    rounds=10,
    name="Röntgen 1",
    cores=2,
    memory=10**9,
    device="cuda:1",
)
GOLDEN = (
    b'{"at_least":1,"cores":0,"device":"","entry":"experiment.py","envoys":[],"files":[{"path":"experiment.py","sha256":"'
    + HASH.encode()
    + b'",'
    b'"size":12},{"path":"pkg/__init__.py","sha256":"' + b"0" * 64 + b'","size":0}],"format":1,"initial":{"sha256":"'
    b""
    + HASH.encode()
    + b'","size":99},"labels":{},"memory":0,"name":"mnist","python":"3.11","requirements":[],"rounds":null,"seed":0}'
)


def encoded(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def changed(**fields: Any) -> bytes:
    return encoded(json.loads(FULL.encode()) | fields)


def with_path(path: str) -> bytes:
    files = json.loads(FULL.encode())["files"]
    return changed(files=sorted([*files, files[0] | {"path": path}], key=lambda each: each["path"]))


def test_the_bytes_are_these_and_name_the_manifest() -> None:
    assert PLAIN.encode() == GOLDEN
    assert PLAIN.hash == hashlib.sha256(GOLDEN).hexdigest()


@pytest.mark.parametrize("manifest", [PLAIN, FULL])
def test_it_comes_back_equal(manifest: Manifest) -> None:
    again = Manifest.decode(manifest.encode())
    assert again == manifest
    assert (again.hash, hash(again)) == (manifest.hash, hash(manifest))


def test_the_order_in_which_it_is_made_makes_no_difference() -> None:
    labels = dict(sorted(FULL.labels.items(), reverse=True))
    other = replace(
        FULL, files=FILES[::-1], envoys=("south", "north"), labels=labels, requirements=FULL.requirements[::-1]
    )
    assert (other, other.encode()) == (FULL, FULL.encode())


@pytest.mark.parametrize(
    "field",
    [
        {"name": "mnist2"},
        {"seed": 1},
        {"rounds": 0},
        {"at_least": 2},
        {"envoys": ("north",)},
        {"labels": {"a": "b"}},
        {"cores": 1},
        {"memory": 1},
        {"device": "cuda"},
        {"requirements": ("torch",)},
        {"python": "3.12"},
        {"initial": InitialModel(HASH, 98)},
        {"files": FILES[:1]},
    ],
)
def test_every_field_changes_the_hash(field: dict[str, Any]) -> None:
    assert replace(PLAIN, **field).hash != PLAIN.hash


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd.txt",
        "../up.py",
        "a/../b.py",
        "a/./b.py",
        "a//b.py",
        "a/",
        "a\\b.py",
        "C:/x.py",
        "x.py:stream.txt",
        ".hidden.py",
        "a/.git/x.txt",
        "new\nline.py",
        "nul\0.py",
        "\x1b[2Jx.py",
        "right\u202eyp.py",
        "half\ud800.py",
        "nul.py",
        "Con/x.py",
        "dot./x.py",
        " space.py",
        "e\u0301.py",
        "model.pkl",
        "x.pyc",
        "x.so",
        "x.PY",
        "x.pth",
        "noend",
        "py",
        "x" * 300 + ".py",
        "experiment.py",
        "Experiment.py",
        "PKG/x.py",
        "pkg/__INIT__.py/x.py",
        "experiment.py/x.py",
    ],
)
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(InputError):
        Manifest.decode(with_path(path))


@pytest.mark.parametrize("path", ["data.csv", "a b/c-d.json", "größe.txt", "x/y/z/README.md"])
def test_a_plain_path_is_taken(path: str) -> None:
    assert path in {file.path for file in Manifest.decode(with_path(path)).files}


@pytest.mark.parametrize(
    "field",
    [
        {"format": 2},
        {"format": True},
        {"format": "1"},
        {"name": ""},
        {"name": " x"},
        {"name": "x\x1b[31m"},
        {"name": 3},
        {"name": "x" * 101},
        {"entry": "other.py"},
        {"entry": "pkg/__init__.py"},
        {"entry": ["experiment.py"]},
        {"files": {}},
        {"files": []},
        {"files": [3]},
        {"files": None},
        {"requirements": "torch"},
        {"requirements": [1]},
        {"requirements": ["torch", "torch"]},
        {"requirements": ["b", "a"]},
        {"requirements": ["-r other.txt"]},
        {"requirements": ["torch @ https://example.org/torch.whl"]},
        {"requirements": ["torch\n--index-url=x"]},
        {"python": "2.7"},
        {"python": "3.11; rm"},
        {"python": 3.11},
        {"envoys": ["North"]},
        {"envoys": ["a", "a"]},
        {"envoys": ["../a"]},
        {"labels": []},
        {"labels": {"a": 1}},
        {"labels": {"": "x"}},
        {"labels": {"a b": "x"}},
        {"labels": {"a": "x\n"}},
        {"cores": -1},
        {"cores": "2"},
        {"cores": 1 << 30},
        {"memory": "1 GB"},
        {"memory": 1.5},
        {"memory": 1 << 63},
        {"device": None},
        {"device": "../gpu"},
        {"device": "cuda:x"},
        {"at_least": 0},
        {"at_least": 3},
        {"at_least": True},
        {"at_least": 2.0},
        {"seed": 1.5},
        {"seed": None},
        {"seed": 1 << 64},
        {"rounds": -1},
        {"rounds": "ten"},
        {"initial": None},
        {"initial": {"sha256": HASH}},
        {"initial": {"sha256": HASH, "size": -1}},
        {"initial": {"sha256": HASH.upper(), "size": 1}},
        {"initial": {"sha256": HASH + "\n", "size": 1}},
        {"initial": {"sha256": 3, "size": 1}},
        {"unknown": 1},
    ],
)
def test_a_field_that_makes_no_sense_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Manifest.decode(changed(**field))


@pytest.mark.parametrize("name", sorted(json.loads(GOLDEN)))
def test_a_field_that_is_missing_is_named(name: str) -> None:
    data = json.loads(GOLDEN)
    del data[name]
    with pytest.raises(InputError, match=f"missing .'{name}'"):
        Manifest.decode(encoded(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"NaN",
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 5000,
        b'{"a":1,"a":1}',
        GOLDEN + b" ",
        b" " + GOLDEN,
        GOLDEN.replace(b'"seed":0', b'"seed":0,"seed":0'),
        GOLDEN.replace(b'"seed":0', b'"seed":-0'),
        GOLDEN.replace(b'"seed":0', b'"seed":NaN'),
        GOLDEN.replace(b"mnist", b"\\u006dnist"),
        GOLDEN.replace(b"mnist", b"\\ud800"),
        b"\xef\xbb\xbf" + GOLDEN,
        b" " * (MANIFEST_LIMIT + 1),
    ],
)
def test_bytes_of_another_form_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        Manifest.decode(data)


def test_too_much_is_refused() -> None:
    with pytest.raises(InputError, match=f"from 0 to {FILE_LIMIT}"):
        SourceFile("x.txt", HASH, FILE_LIMIT + 1)
    nine = tuple(SourceFile(f"x{index}.txt", HASH, FILE_LIMIT) for index in range(8))
    with pytest.raises(InputError, match="data stay with their owners"):
        replace(PLAIN, files=(*FILES, *nine))
    many = tuple(SourceFile(f"x{index}.txt", HASH, 1) for index in range(FILES_LIMIT))
    assert len(replace(PLAIN, files=(FILES[0], *many[1:])).files) == FILES_LIMIT
    with pytest.raises(InputError, match="at most 500"):
        replace(PLAIN, files=(FILES[0], *many))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.binary())
@example(GOLDEN)
def test_any_bytes_are_a_manifest_or_an_input_error(data: bytes) -> None:
    check(data)


@given(st.sampled_from(sorted(json.loads(GOLDEN))), JSON)
def test_any_value_in_a_field_is_a_manifest_or_an_input_error(name: str, value: Any) -> None:
    check(changed(**{name: value}))


@given(st.sampled_from(["path", "sha256", "size", "other"]), JSON)
def test_any_value_in_a_file_is_a_manifest_or_an_input_error(name: str, value: Any) -> None:
    first, second = json.loads(FULL.encode())["files"]
    check(changed(files=[first, second | {name: value}]))


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_texts_as_requirements_are_a_manifest_or_an_input_error(texts: list[str]) -> None:
    check(changed(requirements=texts))


@given(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255))
def test_any_changed_byte_is_another_manifest_or_an_input_error(at: int, byte: int) -> None:
    check(GOLDEN[:at] + bytes([byte]) + GOLDEN[at + 1 :])


def check(data: bytes) -> None:
    try:
        manifest = Manifest.decode(data)
    except InputError:
        return
    assert manifest.encode() == data
    assert (manifest == PLAIN) == (data == GOLDEN)
