"""Records as a tree and a JSON text, and back: how they travel and how a client keeps them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from hansa.core import tree
from hansa.core.tree import Array as NDArray
from hansa.core.tree import Tree
from hansa.core.work import settings_from_json, settings_to_json
from hansa.interop.flower.records import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict, RecordType

TEXT = "text"
"""The leaf that holds the JSON text where there is no better place; no array of a record has a name without "/"."""


def pack(records: RecordDict) -> tuple[Tree, str]:
    """The arrays as "record/name", and all else, the order of everything included, as JSON."""
    arrays = {
        name: {key: array.lent() for key, array in record.items()} for name, record in records.array_records.items()
    }
    return tree.join(arrays), json.dumps([[name, *_described(record)] for name, record in records.items()])


def unpack(arrays: Tree, text: str) -> RecordDict:
    """The records that `pack` took apart."""
    parts = tree.parts({name: leaf for name, leaf in arrays.items() if "/" in name})
    return RecordDict({name: _record(kind, said, parts.get(name, {})) for name, kind, said in json.loads(text)})


def to_tree(records: RecordDict) -> Tree:
    """Records as one tree."""
    arrays, text = pack(records)
    return {**arrays, TEXT: to_leaf(text)}


def from_tree(packed: Tree) -> RecordDict:
    """The records that `to_tree` made a tree of; none where the tree is empty."""
    return unpack(packed, from_leaf(packed[TEXT])) if packed else RecordDict()


def to_leaf(text: str) -> NDArray:
    """A text as an array, uint8."""
    return np.frombuffer(text.encode(), np.uint8)


def from_leaf(leaf: NDArray) -> str:
    """The text that `to_leaf` made an array of."""
    return leaf.tobytes().decode()


def _described(record: RecordType) -> tuple[str, Any]:
    if isinstance(record, ArrayRecord):
        return "arrays", list(record)
    if isinstance(record, MetricRecord):
        return "metrics", dict(record)
    scalars = {name: value for name, value in record.items() if not isinstance(value, list)}
    lists = {
        name: settings_to_json(dict(_numbered(value))) for name, value in record.items() if isinstance(value, list)
    }
    return "config", [list(record), settings_to_json(scalars), lists]


def _record(kind: str, said: Any, arrays: Tree) -> RecordType:
    if kind == "arrays":
        return ArrayRecord({name: Array(arrays[name]) for name in said})
    if kind == "metrics":
        return MetricRecord(said)
    order, scalars, lists = said
    found: dict[str, Any] = {
        **settings_from_json(scalars),
        **{name: list(settings_from_json(each).values()) for name, each in lists.items()},
    }
    return ConfigRecord({name: found[name] for name in order})


def _numbered(values: list[Any]) -> list[tuple[str, Any]]:
    """The values of a list, each with its position as text."""
    return [(str(position), value) for position, value in enumerate(values)]
