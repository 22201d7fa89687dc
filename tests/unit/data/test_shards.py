"""What owners write, how it is checked and loaded, and what is announced of it."""

from __future__ import annotations

import copy
import doctest
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hansa.data.shards
from hansa.data import Batch, ClientDataset, Field, Schema
from hansa.data.documents import schema_from_json, schema_to_json
from hansa.data.shards import (
    ShardDescriptor,
    ShardFacts,
    announce,
    beside,
    compare,
    hosted,
    load_descriptor,
)
from hansa.errors import ConfigError, DataError, InputError

SCHEMA: Schema = {"x": Field((3,), "float32"), "y": Field((), "int64", classes=4)}
CANARY = "canary-8231"


def examples(n: int = 6, **replaced: Any) -> ClientDataset:
    return ClientDataset({"x": np.zeros((n, 3), np.float32), "y": np.arange(n) % 4, **replaced})


class Ward(ShardDescriptor):
    """Heart rates.

    A second paragraph.
    """

    schema: Schema = SCHEMA

    def __init__(self, train: ClientDataset | None = None, test: ClientDataset | None = None) -> None:
        self._train, self._test = train, test

    def train(self) -> ClientDataset | None:
        return self._train

    def test(self) -> ClientDataset | None:
        return self._test


class Hospital(Ward):
    def __init__(self, wards: Any) -> None:
        super().__init__()
        self._wards = wards

    def clients(self) -> Mapping[str, ShardDescriptor]:
        wards: Mapping[str, ShardDescriptor] = self._wards
        return wards


def failing() -> Any:
    raise ValueError(CANARY)


def test_the_example_in_the_docstring_runs() -> None:
    result = doctest.testmod(hansa.data.shards)
    assert (result.failed, result.attempted >= 3) == (0, True)


# --- announcing


def test_facts_are_the_schema_and_sizes() -> None:
    facts = announce(Ward(examples(6), examples(2)), "hospital-a", SCHEMA)
    assert facts == ShardFacts("hospital-a", "Heart rates.", SCHEMA, {"hospital-a": {"train": 6, "test": 2}})


def test_a_shard_without_training_data_is_an_evaluators() -> None:
    assert announce(Ward(None, examples(2)), "a").clients == {"a": {"test": 2}}
    assert announce(Ward(examples(0), examples(2)), "a").clients == {"a": {"test": 2}}


def test_an_owner_may_host_several_clients() -> None:
    hospital = Hospital({"ward-1": Ward(examples(5)), "ward-2": Ward(examples(3), examples(1))})
    assert announce(hospital, "a").clients == {"a/ward-1": {"train": 5}, "a/ward-2": {"train": 3, "test": 1}}
    assert list(hosted(hospital, "a")) == ["a/ward-1", "a/ward-2"]
    alone = Ward()
    assert hosted(alone, "a") == {"a": alone}


def test_what_numpy_counted_is_a_number() -> None:
    ward = Ward(examples())
    ward.schema = {"y": Field((), "int64", classes=np.int64(4))}  # type: ignore[arg-type]  # as y.max() + 1 would be
    assert json.loads(json.dumps(announce(ward, "a").to_json()))["schema"]["y"]["classes"] == 4


def test_no_value_is_announced() -> None:
    ward = Ward(examples(2, y=np.array([3, 3]), x=np.full((2, 3), 0.123456, np.float32)))
    assert "123456" not in json.dumps(announce(ward, "a").to_json())


@pytest.mark.parametrize(
    ("descriptor", "said", "where"),
    [
        (Ward(examples(x=np.zeros((6, 4), np.float32))), r"shape \(4,\), expected \(3,\)", "client 'a', field 'x'"),
        (
            Ward(examples(), examples(x=np.zeros((6, 3)))),
            "values are float64, expected float32",
            "client 'a', field 'x'",
        ),
        (Ward(examples(y=np.arange(6))), "2 values are outside the 4 classes", "client 'a', field 'y'"),
        (Ward(examples(x=np.full((6, 3), np.nan, np.float32))), "18 values are NaN", "client 'a', field 'x'"),
        (Ward(), r"neither train\(\) nor test\(\) gave any examples", "client 'a'"),
        (Ward(CANARY), "expected a ClientDataset or None, found str", "train() of client 'a'"),  # type: ignore[arg-type]
        (Hospital({"Ward 1": Ward()}), "expected a name of small letters", "clients()"),
        (Hospital({"..": Ward()}), "expected a name", "clients()"),
        (Hospital({"b": 3}), "expected a ShardDescriptor, found int", "clients(), 'b'"),
        (Hospital([1]), "expected a mapping of name to ShardDescriptor, found list", "clients()"),
        (Hospital({"b": Ward(examples()), "c": Ward()}), "neither train", "client 'a/c'"),
    ],
)
def test_what_is_found_wrong_with_real_examples(descriptor: ShardDescriptor, said: str, where: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        announce(descriptor, "a")
    assert caught.value.where == where
    assert caught.value.hint
    assert CANARY not in str(caught.value)


def test_unchecked_examples_are_only_counted() -> None:
    broken = Ward(examples(x=np.full((6, 3), np.nan, np.float32)))
    assert announce(broken, "a", checked=False).clients == {"a": {"train": 6}}


@pytest.mark.parametrize("method", ["train", "test", "describe", "clients"])
def test_says_which_method_raised_and_on_which_line_but_no_text(method: str) -> None:
    ward = Ward(examples())
    setattr(ward, method, failing)
    with pytest.raises(DataError, match=rf"^{method}\(\) raised ValueError") as caught:
        announce(ward, "a")
    line = failing.__code__.co_firstlineno + 1
    assert f"test_shards.py, line {line}" in caught.value.where
    assert CANARY not in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)  # for the traceback at the owner's


def test_a_schema_that_raises_and_one_that_is_none() -> None:
    class Raises(Ward):
        @property
        def schema(self) -> Schema:  # type: ignore[override]  # owners do write properties
            raise OSError(CANARY)

    with pytest.raises(DataError, match="schema raised OSError"):
        announce(Raises(examples()), "a")
    with pytest.raises(DataError, match="schema raised AttributeError"):
        announce(ShardDescriptor(), "a")
    ward = Ward(examples())
    for schema, said in (
        ([1], "found list"),
        ({}, "at least one field"),
        ({"x": 3}, "expected a mapping of name to Field"),
        ({"x": Field(3, "float32")}, "expected a list of at most 32 whole numbers"),  # type: ignore[arg-type]
        ({"x": Field((3,), np.float32)}, "NumPy's name of a dtype, such as 'float32', found float32"),  # type: ignore[arg-type]
    ):
        ward.schema = schema  # type: ignore[assignment]
        with pytest.raises(DataError, match=said):
            announce(ward, "a")


def test_a_transform_that_raises_is_the_owners_too() -> None:
    def transform(batch: Batch) -> Batch:
        raise KeyError(CANARY)

    with pytest.raises(DataError, match=r"a transform of train\(\) raised KeyError") as caught:
        announce(Ward(examples().with_transform(transform)), "a")
    assert caught.value.where.startswith("client 'a', test_shards.py, line ")
    assert CANARY not in str(caught.value)


def test_a_description_is_text_that_a_terminal_shows_as_it_is() -> None:
    ward = Ward(examples())
    for description in ("\x1b[2J", "x" * 4001, None, 3):
        ward.describe = lambda description=description: description  # type: ignore[method-assign, misc]
        with pytest.raises(DataError, match="expected plain text"):
            announce(ward, "a")


# --- comparing schemas


def test_more_fields_than_expected_are_fine() -> None:
    compare({"x": SCHEMA["x"]}, SCHEMA)
    compare({"y": Field((), "int64")}, SCHEMA)
    compare({}, {})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"y": SCHEMA["y"]}, r"missing; expected float32 of shape \(3,\), found the fields y"),
        ({**SCHEMA, "x": Field((4,), "float32")}, r"expected float32 of shape \(3,\), found float32 of shape \(4,\)"),
        ({**SCHEMA, "x": Field((3,), "float64")}, "found float64"),
    ],
)
def test_says_the_field_the_expected_and_the_found(found: Schema, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        compare(SCHEMA, found)
    assert caught.value.where == "field 'x'"
    assert caught.value.hint


@pytest.mark.parametrize("classes", [None, 5])
def test_classes_must_be_as_expected(classes: int | None) -> None:
    with pytest.raises(DataError, match=r"expected int64 of shape .* in 4 classes, found int64"):
        compare(SCHEMA, {**SCHEMA, "y": Field((), "int64", classes)})


def test_an_owners_schema_is_compared_before_anything_is_read() -> None:
    ward = Ward()
    ward.train = failing  # type: ignore[method-assign]
    with pytest.raises(DataError, match="the field is missing") as caught:
        announce(ward, "a", {"z": Field((), "int64")})
    assert caught.value.where == "field 'z'"


# --- the documents

NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8).filter(lambda name: name != "mask")
FIELDS = st.builds(
    Field,
    st.lists(st.integers(0, 2**53), max_size=4).map(tuple),
    st.sampled_from(["float32", "bfloat16", "int64", "uint8", "bool", "str96", "complex128", "datetime64[ns]"]),
    st.none() | st.integers(1, 1000),
)
SCHEMAS = st.dictionaries(NAMES, FIELDS, min_size=1, max_size=4)
CLIENTS = st.dictionaries(
    st.sampled_from(["a", "a/b", "a/c-1"]),
    st.dictionaries(st.sampled_from(["train", "test"]), st.integers(1, 2**53)),
    min_size=1,
)


@given(SCHEMAS, CLIENTS, st.text(st.characters(categories=["L", "N", "P"]), max_size=20))
def test_facts_survive_the_wire(schema: Schema, clients: dict[str, dict[str, int]], description: str) -> None:
    facts = ShardFacts("a", description, schema, clients)
    assert ShardFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


GOOD: dict[str, Any] = ShardFacts("a", "text\nof two lines", SCHEMA, {"a": {"train": 3}, "a/b": {"test": 1}}).to_json()


def test_the_good_document_is_good() -> None:
    assert ShardFacts.from_json(GOOD).clients == {"a": {"train": 3}, "a/b": {"test": 1}}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("name"),
        lambda d: d.update(more=1),
        lambda d: d.update(name="../a"),
        lambda d: d.update(name=3),
        lambda d: d.update(description="\x1b[31mred"),
        lambda d: d.update(description=["text"]),
        lambda d: d.update(description="x" * 4001),
        lambda d: d.update(clients={}),
        lambda d: d.update(clients=[]),
        lambda d: d.update(clients={"b": {"train": 3}}),
        lambda d: d.update(clients={"a/": {"train": 3}}),
        lambda d: d.update(clients={"a/b/c": {"train": 3}}),
        lambda d: d.update(clients={"a/..": {"train": 3}}),
        lambda d: d.update(clients={f"a/{n}": {} for n in range(10_001)}),
        lambda d: d["clients"]["a"].update(validation=3),
        lambda d: d["clients"]["a"].update(train=True),
        lambda d: d["clients"]["a"].update(train=1.0),
        lambda d: d["clients"]["a"].update(train=-1),
        lambda d: d["clients"]["a"].update(train=2**60),
        lambda d: d.update(schema={}),
        lambda d: d["schema"].update(mask=d["schema"]["x"]),
        lambda d: d["schema"].update({"\n": d["schema"]["x"]}),
        lambda d: d["schema"]["x"].update(shape=[True]),
        lambda d: d["schema"]["x"].update(shape=[1] * 33),
        lambda d: d["schema"]["x"].update(shape="3"),
        lambda d: d["schema"]["x"].update(dtype="O"),
        lambda d: d["schema"]["x"].update(dtype=32),
        lambda d: d["schema"]["x"].update(dtype="float32,float32"),
        lambda d: d["schema"]["x"].update(classes=0),
        lambda d: d["schema"]["x"].update(classes=None),
        lambda d: d["schema"]["x"].update(class_=1),
        lambda d: d["schema"]["x"].pop("dtype"),
    ],
)
def test_documents_are_read_strictly(change: Callable[[Any], object]) -> None:
    document = copy.deepcopy(GOOD)
    change(document)
    with pytest.raises(DataError) as caught:
        ShardFacts.from_json(document)
    assert caught.value.where
    assert len(str(caught.value)) < 600


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "x", "a"]), inner, max_size=4),
)


@given(JSON)
def test_no_document_raises_anything_else(document: object) -> None:
    for read in (ShardFacts.from_json, schema_from_json):
        try:
            read(document)
        except InputError:
            continue


def test_a_schema_as_its_tables_say_it() -> None:
    tables = {"x": {"shape": [1, 28, 28], "dtype": "float32"}, "y": {"shape": [], "dtype": "int64", "classes": 10}}
    schema = schema_from_json(tables)
    assert schema == {"x": Field((1, 28, 28), "float32"), "y": Field((), "int64", 10)}
    assert schema_to_json(schema) == tables


# --- loading


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Owners' modules that a test imports are gone after it, and the path is as it was."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    assert sys.path == path
    for name in set(sys.modules) - modules:
        if name.startswith("owner"):
            del sys.modules[name]


OWNERS = """
import numpy as np
from hansa.data import ClientDataset, Field
from hansa.data.shards import ShardDescriptor

class Ward(ShardDescriptor):
    "One of them."
    schema = {"x": Field((2,), "float32")}

    def __init__(self, rows: int, *, scale: float = 1.0) -> None:
        if rows < 0:
            raise ValueError("canary-8231")
        self.rows, self.scale = rows, scale

    def train(self):
        from owner_reader import read
        return ClientDataset({"x": np.full((self.rows, 2), read() * self.scale, np.float32)})

number = 3
"""


def written(folder: Path, text: str = OWNERS, name: str = "owner_ward.py") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(text)
    return folder


def test_a_descriptor_is_made_of_its_file_and_parameters(tmp_path: Path) -> None:
    written(tmp_path, "def read(): return 3\n", "owner_reader.py")
    ward = load_descriptor("owner_ward:Ward", {"rows": 4, "scale": 2.0}, written(tmp_path))
    with beside(tmp_path):
        facts = announce(ward, "a")
        train = ward.train()
    assert facts.clients == {"a": {"train": 4}}
    assert train is not None
    assert train["x"].max() == 6


def test_two_owners_on_one_machine_may_use_the_same_names(tmp_path: Path) -> None:
    largest = []
    for number, home in enumerate(("one", "two"), 1):
        folder = written(tmp_path / home)
        written(folder, f"def read(): return {number}\n", "owner_reader.py")
        ward = load_descriptor("owner_ward:Ward", {"rows": 1}, folder)
        with beside(folder):
            train = ward.train()
        assert train is not None
        largest.append(float(train["x"].max()))
    assert largest == [1.0, 2.0]


def test_a_class_of_an_installed_package_needs_no_folder() -> None:
    with pytest.raises(ConfigError, match="it is no ShardDescriptor"):
        load_descriptor("hansa.data.shards:ShardFacts")
    with pytest.raises(ConfigError, match="it is no ShardDescriptor"):
        load_descriptor("hansa.data.shards:ShardDescriptor")  # whose schema nobody wrote


@pytest.mark.parametrize(
    ("reference", "parameters", "said", "where"),
    [
        ("owner_ward", {}, "expected module:Class, found 'owner_ward'", ""),
        ("owner_ward.py:Ward", {"rows": 1}, "there is no module 'owner_ward.py'", "FOLDER"),
        ("owner-ward:Ward", {}, "expected module:Class", ""),
        ("owner_ard:Ward", {}, "there is no module 'owner_ard'", "FOLDER"),
        ("owner_needy:Ward", {}, "no module 'owner_pandas', which owner_needy imports", "owner_needy.py, line 2"),
        ("owner_typo:Ward", {}, "importing owner_typo raised SyntaxError", "owner_typo.py, line 1"),
        ("owner_raises:Ward", {}, "importing owner_raises raised ZeroDivisionError", "owner_raises.py, line 3"),
        ("owner_ward:Wards", {}, "no such class; the module's descriptors: Ward", "owner_ward"),
        ("owner_ward:number", {}, "it is no ShardDescriptor; the module's descriptors: Ward", "owner_ward"),
        ("owner_ward:Ward", {}, "needs rows", "its parameters"),
        ("owner_ward:Ward", {"row": 1}, "does not take row, needs rows", "its parameters"),
        ("owner_ward:Ward", {"rows": -1}, r"Ward\(\) raised ValueError", "owner_ward.py, line 12"),
    ],
)
def test_what_can_be_wrong_with_it(
    tmp_path: Path, reference: str, parameters: dict[str, Any], said: str, where: str
) -> None:
    written(tmp_path)
    written(tmp_path, "import numpy\nimport owner_pandas\n", "owner_needy.py")
    written(tmp_path, "class Ward(:\n", "owner_typo.py")
    written(tmp_path, "def fail():\n    x = 0\n    return 1 / x\nfail()\n", "owner_raises.py")
    with pytest.raises(ConfigError, match=said) as caught:
        load_descriptor(reference, parameters, tmp_path)
    assert caught.value.where == where.replace("FOLDER", str(tmp_path))
    assert caught.value.hint
    assert CANARY not in str(caught.value)


def test_a_class_may_take_anything(tmp_path: Path) -> None:
    text = OWNERS.replace("*, scale: float = 1.0", "**others").replace("rows, scale", "rows, 1.0")
    text = text.replace("self.rows, self.scale = rows, 1.0", "self.rows, self.scale = rows, 1.0")
    assert (
        load_descriptor("owner_ward:Ward", {"rows": 1, "anything": 2}, written(tmp_path, text)).describe()
        == "One of them."
    )
