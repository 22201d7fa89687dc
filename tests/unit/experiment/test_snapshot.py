"""Snapshots: every state comes back to the last bit, and everything else is told with the path to it."""

from __future__ import annotations

import enum
import json
import math
import struct
from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import InitVar, dataclass, field, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hansa.algorithms import Evaluated, FedAvg, FedAvgState, FedProx, fedadagrad, fedadam, fedavgm, fedyogi
from hansa.core.ask import Status
from hansa.core.keys import Key, key
from hansa.core.metrics import ConfusionMatrix, Mean, Metrics, Sum
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.errors import InputError
from hansa.experiment.files import RUN_NAME, load_experiment
from hansa.experiment.snapshot import DEEPEST, Snapshot, freeze, thaw
from hansa.models import NumpyMLP
from hansa.protocol import codec
from hansa.simulation import SequentialExecutor
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining, OptimizerState


def kept(snapshot: Snapshot) -> tuple[Any, list[Tree]]:
    """A snapshot as it comes back from a disk."""
    document = json.loads(json.dumps(snapshot.document, allow_nan=False, ensure_ascii=False).encode())
    assert document == snapshot.document
    return document, [codec.decode(codec.encode(tree)) for tree in snapshot.trees]


def back(state: Any, names: Mapping[str, Any] | None = None) -> Any:
    return thaw(*kept(freeze(state, names)), names)


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal to the last bit, and of the same types and order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        alike = a.dtype == b.dtype.newbyteorder("=") or a.dtype.newbyteorder("=") == b.dtype
        return bool(alike) and a.shape == b.shape and a.astype(b.dtype).tobytes() == b.tobytes()
    if isinstance(a, np.generic):
        return bool(a.dtype == b.dtype) and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return struct.pack(">d", a) == struct.pack(">d", b)
    if isinstance(a, dict | Metrics):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if is_dataclass(a) and not isinstance(a, type):
        return all(same(getattr(a, each.name), getattr(b, each.name)) for each in fields(a))
    return bool(a == b)


@dataclass(frozen=True)
class Inner:
    x: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    first: Any
    second: int = 3
    derived: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "derived", f"from {self.second}")

    @dataclass(frozen=True)
    class Nested:
        y: Any


class Colour(enum.Enum):
    RED = "red"
    ALSO_RED = "red"  # noqa: PIE796 - an alias, on purpose


class Bits(enum.Flag):
    A = 1
    B = 2


TREE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, ml_dtypes.bfloat16)}

VALUES = [
    None,
    True,
    0,
    -1,
    2**64,
    -(10**5000),
    0.0,
    -0.0,
    5e-324,
    math.pi,
    math.inf,
    -math.inf,
    math.nan,
    struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0],
    "",
    "ü\0\n",
    "half a pair \ud83d",
    b"",
    b"\0\xff",
    (),
    [],
    {},
    ((),),
    [[1, (2.0,)], {"a": [None]}],
    {"b": 1, "a": 2},
    {"$": "int", "hex": "0x1"},
    {"half \ud83d": 1},
    Fraction(1, 3),
    Fraction(-(7**9000), 3),
    Colour.RED,
    Colour.ALSO_RED,
    Bits.A,
    Status.LATE,
    TREE,
    {"t": TREE, "u": (TREE, 1)},
    {"w": np.array(1.5), "not a leaf": 1},
    {"__metadata__": np.ones(1)},
    {"half \ud83d": np.ones(1)},
    np.array(3, np.int8),
    np.zeros((0, 2), np.float16),
    np.array([True, False]),
    np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)[::2],
    np.array([1, 2], ">f4"),
    np.array([1 + 2j, complex(math.nan, 1)], np.complex128),
    np.array([[1j]], np.complex64),
    np.array(["a", "büro"]),
    np.array(["", ""]),
    np.array([b"x", b"yz"]),
    np.array("2024-02-29T12:00", "M8[s]"),
    np.array([[5, -1]], "m8[25us]"),
    np.array([], "M8"),
    {"texts": np.array(["a"]), "numbers": np.array([1])},
    np.float64(0.1),
    np.float32("nan"),
    np.int64(-3),
    np.bool_(True),
    ml_dtypes.bfloat16(1.5),
    np.complex128(1j),
    np.str_("ü"),
    np.str_(""),
    np.datetime64("2024-01-01", "D"),
    Inner((TREE, [Inner()])),
    Full(first=Inner(1.0), second=9),
    Full.Nested({"k": b""}),
    Population(("a", "b/c"), {"train": {"a": 3}}),
    Population(["a"]),
    Key(3, ("a", 1)),
    Mean.of(0.1, 3),
    Metrics(),
    Metrics({"loss": Mean.of(0.1, 3), "n": Sum.of(2), "inf": Sum.of(math.inf), "m": ConfusionMatrix(((1, 2), (0, 4)))}),
    OptimizerState(3, {"m": TREE, "v": {}}),
    FedAvgState(TREE, 2, 7, OptimizerState()),
]


@pytest.mark.parametrize("value", VALUES, ids=[f"{at}-{type(value).__name__}" for at, value in enumerate(VALUES)])
def test_every_value_comes_back_to_the_last_bit(value: Any) -> None:
    for state in (value, [value], {"x": value}, Inner(value), (value, value)):
        assert same(back(state), state)


FLOATS = st.floats(width=64) | st.sampled_from([math.nan, -0.0, math.inf])
TEXT = st.text(st.characters(codec=None))
ARRAYS = hnp.arrays(
    st.sampled_from(["f4", "f8", ">f8", "f2", "i8", "u1", "?", "c8", "c16", "U3", "S2", "M8[ms]"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
LEAVES = st.none() | st.booleans() | st.integers() | FLOATS | TEXT | st.binary() | st.fractions() | ARRAYS
STATES = st.recursive(
    LEAVES | st.dictionaries(TEXT, ARRAYS, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT, inner, max_size=3)
        | inner.map(Inner)
    ),
    max_leaves=6,
)


@given(STATES)
def test_any_state_comes_back_to_the_last_bit(state: Any) -> None:
    assert same(back(state), state)


MODEL = NumpyMLP((5, 4, 3))
LOCAL = LocalTraining(MODEL, SGD(0.1), batch_size=8, epochs=1)
ALGORITHMS = {
    "fedavg": FedAvg(LOCAL, 3),
    "momentum": FedAvg(LOCAL, 3, server=fedavgm()),
    "adagrad": FedAvg(LOCAL, 3, server=fedadagrad()),
    "adam": FedAvg(LOCAL, 3, server=fedadam()),
    "yogi": FedAvg(LOCAL, 3, server=fedyogi()),
    "fedprox": FedProx(LOCAL, 3, mu=0.1),
    "evaluated": Evaluated(FedAvg(LOCAL, 3, server=fedadam()), Evaluation(MODEL), every=2),
    "owners": Evaluated(FedAvg(LOCAL, 3), Evaluation(MODEL), owners=True),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_goes_on_from_a_snapshot_to_the_same_bits(name: str) -> None:
    algorithm: Any = ALGORITHMS[name]
    finals = []
    for frozen in (False, True):
        executor = SequentialExecutor(algorithm.works, blobs(3), 1)
        state = algorithm.start(MODEL.init(key(1, "init")), 1)
        while (ask := algorithm.ask(state, executor.population())) is not None:
            state = algorithm.tell(state, executor.execute(ask))
            if frozen:
                assert same(back(state), state)
                state = back(state)
        finals.append({leaf: array.tobytes() for leaf, array in algorithm.params(state).items()})
    assert finals[0] == finals[1]


def test_a_tree_that_did_not_change_is_the_same_file() -> None:
    moved = {name: leaf + leaf for name, leaf in TREE.items()}
    before, after = (freeze(FedAvgState(params, 1, 0, OptimizerState(1, {"m": TREE}))) for params in (TREE, moved))
    assert len(before.trees) == 1, "one tree that stands in two places is kept once"
    assert codec.digest(before.trees[0]) == codec.digest(after.trees[1])
    assert codec.digest(before.trees[0]) != codec.digest(after.trees[0])
    state = back(FedAvgState(TREE, 1, 0, OptimizerState(1, {"m": TREE})))
    assert state.params is state.server.slots["m"]


def test_loose_arrays_are_one_more_tree() -> None:
    snapshot = freeze([np.ones(2), TREE, np.float32(3), {"a": np.ones(1), "b": 2}])
    assert [sorted(tree) for tree in snapshot.trees] == [["b", "w"], ["0", "1", "2"]]


def test_the_document_of_a_state() -> None:
    state = FedAvgState({"w": np.zeros(1)}, 2, 7, OptimizerState(2, {}))
    assert freeze(state).document == {
        "format": 1,
        "state": {
            "$": "dataclass",
            "type": "hansa.algorithms.fedavg:FedAvgState",
            "fields": [
                ["params", {"$": "tree", "index": 0, "names": ["w"]}],
                ["round", 2],
                ["seed", 7],
                [
                    "server",
                    {
                        "$": "dataclass",
                        "type": "hansa.training.optimizers:OptimizerState",
                        "fields": [["steps", 2], ["slots", {"$": "dict", "items": []}]],
                    },
                ],
                ["optimizer", {"$": "dict", "items": []}],
            ],
        },
    }


@dataclass
class Thawed:
    x: int = 0


@dataclass(frozen=True)
class Asking:
    x: int
    seed: InitVar[int]


class Raw:
    pass


Point = namedtuple("Point", "x")  # noqa: PYI024 - this very kind
Pretender: Any = dataclass(frozen=True)(type("Inner", (), {"__module__": __name__}))
MASKED = np.ma.masked_array([1, 2], [True, False])


def local() -> Any:
    @dataclass(frozen=True)
    class Local:
        x: int = 1

    return Local()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Raw(), "Raw cannot be kept"),
        (Raw, "builtins.type cannot be kept"),
        (len, "cannot be kept"),
        ({1, 2}, "builtins.set cannot be kept"),
        (1j, "builtins.complex cannot be kept"),
        (OrderedDict(a=1), "OrderedDict cannot be kept"),
        (Point(1), "Point cannot be kept"),
        (Thawed(), "Thawed cannot be kept"),
        (bytearray(b"x"), "bytearray cannot be kept"),
        (Path("x"), "PosixPath cannot be kept"),
        (MASKED, "MaskedArray cannot be kept"),
        (np.array([None]), "dtype object cannot be kept"),
        (np.zeros(1, np.longdouble), "dtype float128 cannot be kept|dtype longdouble cannot be kept"),
        (np.zeros(1, [("a", "i4")]), "cannot be kept"),
        (np.zeros(1, ml_dtypes.int4), "dtype int4 cannot be kept"),
        ({1: 2}, "has the key 1, which is no text"),
        ({np.str_("a"): 2}, "which is no text"),
        (Bits.A | Bits.B, "no single member of Bits"),
        (local(), "was made inside a function"),
        (Pretender(), "another class has the name"),
        (Asking(1, 2), "Asking cannot be made from its fields"),
        (Metrics({"x": Raw()}), "these metrics cannot be kept"),  # type: ignore[dict-item]  # on purpose
    ],
)
def test_anything_else_is_told_with_the_path_to_it(value: Any, said: str) -> None:
    for state, path in ((value, "state"), (Inner({"a.b": (0, [value])}), "state.x['a.b'][1][0]")):
        with pytest.raises(InputError, match=said) as caught:
            freeze(state)
        assert caught.value.where == path
        assert caught.value.hint


def test_what_lies_too_deep_is_told() -> None:
    state: Any = None
    for _ in range(DEEPEST):
        state = Inner([state]) if _ % 2 else (state,)
    with pytest.raises(InputError, match=f"more than {DEEPEST} values"):
        freeze((state,))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="flatten"):
        freeze(endless)
    deep: Any = ()
    for _ in range(DEEPEST - 1):
        deep = (deep,)
    assert back(deep) == deep


def test_an_experiment_files_own_classes_are_found_in_its_names_and_in_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_snapshots.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass There:\n    y: int\n"
    )
    (tmp_path / "experiment.py").write_text(
        "from dataclasses import dataclass\nfrom typing import Any\nimport hansa\n"
        "from neighbour_of_snapshots import There\n"
        "@dataclass(frozen=True)\nclass Mine:\n    x: Any\n"
        "model = hansa.NumpyMLP((5, 3))\n"
        "experiment = hansa.Experiment(model, hansa.FedAvg(hansa.LocalTraining(model, hansa.SGD(0.1), epochs=1), 1))\n"
    )
    loaded = load_experiment(tmp_path / "experiment.py")
    with loaded.importing():
        state = loaded.names["Mine"](loaded.names["There"](4))
        assert back(state, loaded.names) == state
        with pytest.raises(InputError, match="there is no class __hansa__:Mine") as caught:
            freeze(state)
        assert "the names that the experiment file defines" in caught.value.hint
        snapshot = freeze(state, loaded.names)
        with pytest.raises(InputError, match="there is no class __hansa__:Mine"):
            thaw(*kept(snapshot))


def of(kind: str, **rest: Any) -> dict[str, Any]:
    return {"format": 1, "state": {"$": kind, **rest}}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        "text",
        {"format": 2, "state": 1},
        {"format": 1},
        {"format": 1, "state": {}},
        {"format": 1, "state": {"a": 1}},
        of("unknown"),
        of("int", hex="zz"),
        of("int", hex=3),
        of("float", bits="00"),
        of("float", bits="zz"),
        of("str", hex="ff"),
        of("bytes", base64="?"),
        of("tuple", items=3),
        of("dict", items=[[1]]),
        of("dict", items=[[[], 1]]),
        of("fraction", of=[1, 0]),
        of("fraction", of=["a", 1]),
        of("fraction", of=[1]),
        of("metrics", of={"x": {"kind": "median"}}),
        of("metrics", of={"x": 3}),
        of("tree", index=5, names=[]),
        of("tree", index=-2, names=[]),
        of("tree", index=0, names=["other"]),
        of("tree", index=0, names=[[]]),
        of("array", leaf=7),
        of("array"),
        of("array", leaf="w", dtype="O", shape=[1]),
        of("array", leaf="w", dtype="<f8", shape=[1]),
        of("array", leaf="w", dtype=3, shape=[1]),
        of("array", leaf="w", dtype="<U1", shape=[99]),
        of("array", leaf="w", dtype="<M8[zz]", shape=[1]),
        of("enum", type="hansa.core.ask:Status", name="NO"),
        of("enum", type="hansa.core.ask:Ask", name="work"),
        of("enum", type="os:path", name="x"),
        of("dataclass", type="os:path", fields=[]),
        of("dataclass", type="os:system", fields=[["command", "true"]]),
        of("dataclass", type="subprocess:Popen", fields=[["args", ["true"]]]),
        of("dataclass", type="builtins:dict", fields=[]),
        of("dataclass", type="no_such_module:X", fields=[]),
        of("dataclass", type="hansa.core.ask:No", fields=[]),
        of("dataclass", type="", fields=[]),
        of("dataclass", type=":", fields=[]),
        of("dataclass", type="..x:y", fields=[]),
        of("dataclass", type="hansa.core.ask:f.<locals>.X", fields=[]),
        of("dataclass", type="hansa.algorithms.fedavg:FedAvgState", fields=[["params", 1]]),
        of("dataclass", type="hansa.training:SGD", fields=[["learning_rate", -1]]),
        of("dataclass", type="hansa.training:SGD", fields=[["no_such", 1]]),
        of("dataclass", type="hansa.training:SGD", fields=[3]),
    ],
)
def test_what_is_no_snapshot_is_an_input_error(document: Any) -> None:
    with pytest.raises(InputError):
        thaw(document, [TREE])


TAGS = (
    "array",
    "tree",
    "dict",
    "tuple",
    "fraction",
    "dataclass",
    "int",
    "float",
    "str",
    "bytes",
    "scalar",
    "metrics",
    "enum",
)
PARTS = ("items", "of", "leaf", "dtype", "shape", "fields", "type", "index", "names", "hex", "bits", "base64", "name")
JSON = st.recursive(
    st.none() | st.integers(-2, 3) | st.text(max_size=3) | st.sampled_from(["0x1", "w", "hansa.training:SGD", "<U1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(PARTS), inner, max_size=3)
        | st.builds(
            lambda tag, parts: {"$": tag, **parts},
            st.sampled_from(TAGS),
            st.dictionaries(st.sampled_from(PARTS), inner, max_size=4),
        )
    ),
    max_leaves=12,
)


@settings(max_examples=500)
@given(JSON)
def test_any_document_is_a_state_or_an_input_error(document: Any) -> None:
    with suppress(InputError):
        thaw({"format": 1, "state": document}, [TREE, {"0": np.zeros(4, np.uint8)}])


def test_a_missing_tree_is_an_input_error() -> None:
    document, trees = kept(freeze([TREE, np.ones(1)]))
    for fewer in ([], trees[:1], trees[1:], trees[::-1]):
        with pytest.raises(InputError):
            thaw(document, fewer)


class Running:
    """A sum that goes on."""

    def __init__(self, total: Any = 0) -> None:
        self.total = total

    def parts(self) -> dict[str, Any]:
        return {"total": self.total}

    @classmethod
    def of_parts(cls, **parts: Any) -> Running:
        return cls(**parts)


def test_what_changes_is_kept_by_its_parts() -> None:
    found = back([Running(np.arange(3)), Running(Running(2))])
    assert found[0].total.tolist() == [0, 1, 2]
    assert found[1].total.total == 2
    with pytest.raises(InputError, match="Inner is not made of parts"):
        thaw({"format": 1, "state": {"$": "parted", "type": f"{__name__}:Inner", "of": {"$": "dict", "items": []}}}, ())


def test_a_script_s_own_classes_are_the_experiment_file_s() -> None:
    snapshot = freeze(Inner(3), {"Inner": Inner}, own=__name__)
    assert snapshot.document["state"]["type"] == f"{RUN_NAME}:Inner"
    assert thaw(snapshot.document, snapshot.trees, {"Inner": Inner}) == Inner(3)
    with pytest.raises(InputError, match=f"there is no class {RUN_NAME}:Inner"):
        freeze(Inner(3), {}, own=__name__)
