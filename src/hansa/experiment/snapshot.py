"""Snapshots: an algorithm's state as a JSON document and trees, and back. Nothing in either can be executed.

A dict of arrays becomes a tree of its own, which is a file of its own: a tree that did not change keeps its content's hash, and
is kept by reference. What lies loose is gathered in one more tree, the last. The state comes back equal, to the last bit.

This file must not know which algorithms there are, or where snapshots are kept.
"""

from __future__ import annotations

import base64
import enum
import inspect
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from hansa.core.metrics import Metrics
from hansa.core.tree import Array, Tree
from hansa.errors import InputError
from hansa.experiment import classes
from hansa.protocol import codec

FORMAT = 1
DEEPEST = 100
"""How many values may lie in each other; JSON's own depth is a small multiple of it."""

_STORED_AS_BYTES = re.compile(r"[<|]([mM]8(\[[0-9]*[A-Za-zμ]+\])?|[US][0-9]{1,9}|c16)")
"""The dtypes that model files do not have and that are kept all the same, as NumPy spells them: times, texts, complex128."""

_ARRAYS = (np.ndarray, np.memmap)
"""No other classes of array: a masked one would lose its mask."""

_HINT = (
    "keep states of frozen dataclasses, dicts with text keys, lists, tuples, numbers, text, bytes, enums, fractions, "
    "Metrics and NumPy arrays"
)


@runtime_checkable
class Parted(Protocol):
    """Something that changes, such as a running sum, and can be taken apart all the same."""

    def parts(self) -> dict[str, Any]:
        """What there is of it; each a value that `freeze` takes."""
        ...

    @classmethod
    def of_parts(cls, **parts: Any) -> Self:
        """An equal one of these."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """A state as files.

    Attributes:
        document: what the JSON module writes and reads back unchanged.
        trees: to be kept as safetensors files, and given back in this order.
    """

    document: dict[str, Any]
    trees: tuple[Tree, ...]


def freeze(state: Any, names: Mapping[str, Any] | None = None, *, own: str = "") -> Snapshot:
    """A state as files.

    Args:
        state: frozen dataclasses, dicts with text keys, tuples, lists, None, bool, int, float, str, bytes, NumPy arrays and
            scalars, enums, fractions, Metrics and what is `Parted`, in each other. Arrays of another byte order become this
            machine's.
        names: what the experiment file defines (`ExperimentFile.names`): where its own classes are found again.
        own: what the experiment file is called here, if it was not loaded as one: "__main__" for a script that runs.

    Raises:
        InputError: it holds something else, or a class that could not be found or made again; with the path to it.
    """
    freezing = _Freezing(names or {}, own)
    document = {"format": FORMAT, "state": freezing.value(state, "state", 0)}
    loose = {str(index): leaf for index, leaf in enumerate(freezing.loose)}
    return Snapshot(document, (*freezing.trees, *([loose] if loose else [])))


def thaw(document: Any, trees: Sequence[Tree], names: Mapping[str, Any] | None = None) -> Any:
    """The state that `freeze` took apart.

    Classes are imported by their names, so a state of classes that lie beside the experiment file is thawed within
    `ExperimentFile.importing()`.

    Args:
        document: a snapshot's.
        trees: a snapshot's, in the same order.
        names: what the experiment file defines.

    Raises:
        InputError: this is no snapshot, a tree is missing, or a class is gone or has other fields than it had.
    """
    try:
        if document["format"] != FORMAT:
            raise InputError(f"the snapshot has format {document['format']!r:.40}; this version reads {FORMAT}")
        return _Thawing(trees, names or {}).value(document["state"], 0)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, struct.error) as problem:
        raise InputError(
            f"this is no snapshot, or it is damaged: {type(problem).__name__}: {problem}",
            hint="go back to the snapshot before it",
        ) from problem


class _Freezing:
    """One state being taken apart."""

    def __init__(self, names: Mapping[str, Any], own: str) -> None:
        self._names, self._own = names, own
        self.trees: list[Tree] = []
        self.loose: list[Array] = []
        self._indices: dict[int, int] = {}

    def value(self, value: Any, path: str, depth: int) -> Any:
        """A value as JSON; what is no plain JSON value is an object with the key "$"."""
        if depth > DEEPEST:
            raise InputError(
                f"more than {DEEPEST} values lie in each other", where=path[:200], hint="flatten the state"
            )
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 64 else {"$": "int", "hex": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$": "float", "bits": struct.pack(">d", value).hex()}
        if kind is str:
            return value if _is_text(value) else {"$": "str", "hex": value.encode("utf-8", "surrogatepass").hex()}
        if kind is bytes:
            return {"$": "bytes", "base64": base64.b64encode(value).decode()}
        if kind is list:
            return [self.value(each, f"{path}[{index}]", depth + 1) for index, each in enumerate(value)]
        if kind is tuple:
            return {"$": "tuple", "items": self.value(list(value), path, depth)}
        if kind is dict:
            return self._dict(value, path, depth)
        if kind in _ARRAYS:
            return {"$": "array", **self._leaf(value, path)}
        if isinstance(value, np.generic):
            return {"$": "scalar", **self._leaf(np.asarray(value), path)}
        return self._object(value, path, depth)

    def _dict(self, value: dict[Any, Any], path: str, depth: int) -> Any:
        for key in value:
            if type(key) is not str:
                raise InputError(f"a dict has the key {key!r:.80}, which is no text", where=path, hint="use str(...)")
        if value and all(_is_leaf(name, leaf) for name, leaf in value.items()):
            if id(value) not in self._indices:
                self._indices[id(value)] = len(self.trees)
                self.trees.append(value)
            return {"$": "tree", "index": self._indices[id(value)], "names": list(value)}
        items = [
            [self.value(key, path, depth), self.value(each, f"{path}[{key!r}]", depth + 1)]
            for key, each in value.items()
        ]
        return {"$": "dict", "items": items}

    def _leaf(self, array: Array, path: str) -> dict[str, Any]:
        described: dict[str, Any] = {"leaf": len(self.loose)}
        if not _has_file(array.dtype):
            if (dtype := _storable(array.dtype)) is None:
                raise InputError(f"an array of dtype {array.dtype} cannot be kept", where=path, hint="convert it")
            described |= {"dtype": dtype.str, "shape": list(array.shape)}
            array = array.astype(dtype).reshape(-1).view(np.uint8)
        self.loose.append(array)
        return described

    def _object(self, value: Any, path: str, depth: int) -> Any:
        kind = type(value)
        if isinstance(value, enum.Enum):
            if kind.__members__.get(value.name) is not value:
                raise InputError(f"{value!r} is no single member of {kind.__name__}", where=path, hint="keep its value")
            return {"$": "enum", "type": self._name(kind, path), "name": value.name}
        if kind is Fraction:
            return {"$": "fraction", "of": [self.value(each, path, depth) for each in value.as_integer_ratio()]}
        if kind is Metrics:
            return {"$": "metrics", "of": _metrics(value, path)}
        if _is_frozen(kind):
            made = {each.name: getattr(value, each.name) for each in fields(kind) if each.init}
            _check_makes(kind, made, path)
            of = [[name, self.value(each, f"{path}.{name}", depth + 1)] for name, each in made.items()]
            return {"$": "dataclass", "type": self._name(kind, path), "fields": of}
        if isinstance(value, Parted):
            return {"$": "parted", "type": self._name(kind, path), "of": self._dict(value.parts(), path, depth + 1)}
        raise InputError(
            f"a {kind.__module__}.{kind.__qualname__} cannot be kept in a snapshot", where=path, hint=_HINT
        )

    def _name(self, kind: type[Any], path: str) -> str:
        return classes.name_of(kind, self._names, path, own=self._own)


class _Thawing:
    """One state being put together."""

    def __init__(self, trees: Sequence[Tree], names: Mapping[str, Any]) -> None:
        self._trees, self._names = trees, names
        self._whole: dict[int, Tree] = {}

    def value(self, document: Any, depth: int) -> Any:
        if depth > DEEPEST:
            raise InputError("this is no snapshot: its values lie too deep in each other")
        if isinstance(document, list):
            return [self.value(each, depth + 1) for each in document]
        if not isinstance(document, dict):
            return document
        match document:
            case {"$": "int", "hex": str(digits)}:
                return int(digits, 16)
            case {"$": "float", "bits": str(bits)}:
                return struct.unpack(">d", bytes.fromhex(bits))[0]
            case {"$": "str", "hex": str(text)}:
                return bytes.fromhex(text).decode("utf-8", "surrogatepass")
            case {"$": "bytes", "base64": str(text)}:
                return base64.b64decode(text, validate=True)
            case {"$": "tuple", "items": list(items)}:
                return tuple(self.value(each, depth + 1) for each in items)
            case {"$": "dict", "items": list(items)}:
                return {self.value(key, depth + 1): self.value(each, depth + 1) for key, each in items}
            case {"$": "tree", "index": int(index), "names": list(names)}:
                return self._tree(index, names)
            case {"$": "array"}:
                return self._leaf(document)
            case {"$": "scalar"}:
                return self._leaf(document)[()]
            case {"$": "fraction", "of": [above, below]}:
                return Fraction(self.value(above, depth), self.value(below, depth))
            case {"$": "metrics", "of": dict(of)}:
                return Metrics.from_json(of)
            case {"$": "enum", "type": str(name), "name": str(member)}:
                return self._enum(name, member)
            case {"$": "dataclass", "type": str(name), "fields": list(of)}:
                return self._dataclass(name, {field: self.value(each, depth + 1) for field, each in of})
            case {"$": "parted", "type": str(name), "of": dict(of)}:
                return self._parted(name, self.value(of, depth + 1))
        raise InputError(f"this is no snapshot: it holds {document!r:.80}")

    def _tree(self, index: int, names: list[str]) -> Tree:
        """A tree with its leaves in the order that they had; the same one wherever it stood."""
        if index not in self._whole:
            tree = self._one(index)
            if tree.keys() != set(names):
                raise InputError(
                    f"tree {index} of the snapshot has other leaves than it had", hint="give them in order"
                )
            self._whole[index] = {name: tree[name] for name in names}
        return self._whole[index]

    def _one(self, index: int) -> Tree:
        if not -1 <= index < len(self._trees) or not self._trees:
            raise InputError(f"the snapshot has {len(self._trees)} trees, and its document names tree {index}")
        return self._trees[index]

    def _leaf(self, document: Mapping[str, Any]) -> Array:
        leaf = self._one(-1)[str(document["leaf"])]
        if "dtype" not in document:
            return leaf
        if not _STORED_AS_BYTES.fullmatch(document["dtype"]):
            raise InputError(f"this is no snapshot: it holds an array of dtype {document['dtype']!r:.40}")
        dtype = np.dtype(str(document["dtype"]))
        array: Array = leaf.view(dtype).reshape(document["shape"]).astype(dtype.newbyteorder("="))
        return array

    def _enum(self, name: str, member: str) -> enum.Enum:
        kind = classes.named(name, self._names)
        if not issubclass(kind, enum.Enum) or member not in kind.__members__:
            raise InputError(f"{name} has no member {member!r}", hint="use the code that the snapshot was made with")
        return kind.__members__[member]

    def _dataclass(self, name: str, values: Mapping[str, Any]) -> Any:
        kind = classes.named(name, self._names)
        if not is_dataclass(kind):
            raise InputError(f"{name} is no dataclass", hint="use the code that the snapshot was made with")
        try:
            return kind(**values)
        except Exception as problem:
            raise InputError(
                f"{name} cannot be made from {', '.join(values) or 'nothing'}: {type(problem).__name__}: {problem}",
                hint="use the code that the snapshot was made with",
            ) from problem

    def _parted(self, name: str, parts: Mapping[str, Any]) -> Any:
        kind: Any = classes.named(name, self._names)
        if not issubclass(kind, Parted):
            raise InputError(f"{name} is not made of parts", hint="use the code that the snapshot was made with")
        return kind.of_parts(**parts)


def _is_frozen(kind: type[Any]) -> bool:
    """Whether it is a frozen dataclass."""
    return bool(getattr(getattr(kind, "__dataclass_params__", None), "frozen", False))


def _check_makes(kind: type[Any], values: Mapping[str, Any], path: str) -> None:
    """Refuse a class whose constructor asks for something else than its fields."""
    try:
        inspect.signature(kind).bind(**values)
    except (TypeError, ValueError) as problem:
        raise InputError(
            f"{kind.__qualname__} cannot be made from its fields: {problem}",
            where=path,
            hint="let its constructor take its fields and nothing else",
        ) from problem


def _metrics(value: Metrics, path: str) -> dict[str, Any]:
    try:
        described = value.to_json()
        Metrics.from_json(described)
    except (InputError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as problem:
        raise InputError(
            f"these metrics cannot be kept: {problem}", where=path, hint="use Hansa's own kinds"
        ) from problem
    return described


def _is_text(text: str) -> bool:
    """Whether UTF-8 has it: anything but half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_leaf(name: str, value: Any) -> bool:
    return type(value) in _ARRAYS and _is_text(name) and _has_file(value.dtype, name)


def _has_file(dtype: np.dtype[Any], name: str = "leaf") -> bool:
    """Whether a model file can hold a leaf of this dtype and name: only the codec knows."""
    try:
        codec.encode({name: np.empty(0, dtype)})
    except InputError:
        return False
    return True


def _storable(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """A dtype that model files do not have, as its bytes are stored: little-endian, at least one character. None: it is not."""
    if dtype.kind in "US" and not dtype.itemsize:
        return np.dtype(f"<{dtype.kind}1")
    return dtype.newbyteorder("<") if _STORED_AS_BYTES.fullmatch(dtype.newbyteorder("<").str) else None
