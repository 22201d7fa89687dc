"""Ensembles of boosted trees as values: XGBoost's JSON model format read, checked, cut and joined, without XGBoost.

The parts of the format that are used here have been the same since XGBoost 1.7 and are written down in its documentation
("Introduction to Model IO", with a JSON schema): `learner.gradient_booster.model` has the `trees`, for each its class in
`tree_info`, and in `iteration_indptr` where each iteration of boosting begins; the counts are repeated as text. Everything
else of a document is kept as it is, so that what a later version adds survives.

This file must not know who boosted a tree, or where ensembles travel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hansa.core.tree import Array, Tree
from hansa.errors import DataError, TreeMismatch

LEAF = "trees"
"""The one leaf of a model of boosted trees: the document's bytes, uint8, shape (bytes,)."""

Document = dict[str, Any]
"""A model in XGBoost's JSON format."""

_PER_NODE = (
    "base_weights",
    "default_left",
    "left_children",
    "right_children",
    "parents",
    "loss_changes",
    "split_conditions",
    "split_indices",
    "split_type",
    "sum_hessian",
)
_NUMBERS = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")


@dataclass(frozen=True)
class Trees:
    """Trees that were boosted together, apart from the ensemble that they go on from.

    Attributes:
        head: what they hold to: objective, base score, numbers of features, classes and targets; equal for all that are joined.
        trees: in XGBoost's format, in the order in which they were grown.
        classes: for each tree the class whose score it adds to; 0 unless there are several.
        iterations: how many trees each iteration of boosting grew.
    """

    head: Mapping[str, Any]
    trees: tuple[Mapping[str, Any], ...]
    classes: tuple[int, ...]
    iterations: tuple[int, ...]


def to_leaf(document: Mapping[str, Any]) -> Array:
    """A document as the bytes that travel: the same for equal documents."""
    return np.frombuffer(json.dumps(document, separators=(",", ":"), allow_nan=False).encode(), np.uint8)


def from_leaf(leaf: Array, where: str = "") -> Document:
    """The document that `to_leaf` wrote.

    Raises:
        DataError: these bytes are none.
    """
    if leaf.dtype != np.uint8 or leaf.ndim != 1:
        raise DataError(f"boosted trees travel as bytes, not as {leaf.dtype} of shape {leaf.shape}", where=where)
    try:
        document = json.loads(leaf.tobytes())
    except (ValueError, RecursionError) as problem:
        raise DataError(f"these bytes are no JSON: {problem!s:.100}", where=where) from problem
    if not isinstance(document, dict):
        raise DataError(f"boosted trees are a JSON object, not a {type(document).__name__}", where=where)
    return document


def head_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What all trees of a model hold to."""
    learner = document["learner"]
    return {"objective": learner["objective"], "learner_model_param": learner["learner_model_param"]}


def count(document: Mapping[str, Any]) -> int:
    """How many trees a model has."""
    return len(_model(document)["trees"])


def since(document: Mapping[str, Any], trees: int) -> Trees:
    """What a model has after its first so many trees, which end an iteration."""
    model = _model(document)
    begins = [at for at in model["iteration_indptr"] if at >= trees]
    iterations = tuple(int(size) for size in np.diff(begins))
    return Trees(head_of(document), tuple(model["trees"][trees:]), tuple(model["tree_info"][trees:]), iterations)


def appended(document: Mapping[str, Any], new: Trees) -> Document:
    """A model with new trees after its own, iteration by iteration.

    Raises:
        TreeMismatch: the new trees were boosted with another base score, for another objective or for data of another form.
    """
    check_heads(new.head, head_of(document))
    model = _model(document)
    trees = [*model["trees"], *({**tree, "id": len(model["trees"]) + at} for at, tree in enumerate(new.trees))]
    begins = model["iteration_indptr"][-1] + np.cumsum(new.iterations, dtype=np.int64)
    changed = {
        **model,
        "trees": trees,
        "tree_info": [*model["tree_info"], *new.classes],
        "iteration_indptr": [*model["iteration_indptr"], *begins.tolist()],
        "gbtree_model_param": {**model["gbtree_model_param"], "num_trees": str(len(trees))},
    }
    learner = document["learner"]
    return {
        **document,
        "learner": {**learner, "gradient_booster": {**learner["gradient_booster"], "model": changed}},
    }


def scaled(trees: Trees, factor: float) -> Trees:
    """The same trees, whose leaves count `factor` times; in float32, as XGBoost keeps them."""
    return Trees(trees.head, tuple(_scaled(tree, factor) for tree in trees.trees), trees.classes, trees.iterations)


def joined(parts: Sequence[Trees]) -> Trees:
    """One after the other. Raises `TreeMismatch` where they do not go together."""
    for part in parts[1:]:
        check_heads(part.head, parts[0].head)
    return Trees(
        parts[0].head,
        tuple(tree for part in parts for tree in part.trees),
        tuple(label for part in parts for label in part.classes),
        tuple(size for part in parts for size in part.iterations),
    )


def check_heads(found: Mapping[str, Any], expected: Mapping[str, Any], where: str = "") -> None:
    """Raise `TreeMismatch` unless two models' trees may be joined."""
    if found != expected:
        raise TreeMismatch(
            f"the trees were boosted for {_shown(found)}, expected {_shown(expected)}",
            where=where,
            hint="let every client boost the same XGBoostModel: same objective, base_score, features and classes",
        )


def trees_to_tree(new: Trees) -> Tree:
    """New trees as an update's tree."""
    return {
        LEAF: to_leaf(
            {"head": dict(new.head), "trees": new.trees, "classes": new.classes, "iterations": new.iterations}
        )
    }


def trees_from_tree(tree: Mapping[str, Array], where: str = "") -> Trees:
    """The new trees that an update brings, checked down to every node, because XGBoost follows them without looking.

    Raises:
        TreeMismatch: the update has other leaves.
        DataError: what it brings is no set of trees that XGBoost could have grown.
    """
    if tree.keys() != {LEAF}:
        raise TreeMismatch(f"expected the leaf {LEAF!r}, found {', '.join(map(repr, tree)) or 'none'}", where=where)
    document = from_leaf(tree[LEAF], where)
    try:
        new = Trees(
            document["head"],
            tuple(document["trees"]),
            tuple(map(int, document["classes"])),
            tuple(map(int, document["iterations"])),
        )
        _check_set(new)
        features = int(new.head["learner_model_param"]["num_feature"])
        for each in new.trees:
            _check_tree(each, features)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as problem:
        if isinstance(problem, DataError):
            problem.where = where
            raise
        raise DataError(
            f"these are no boosted trees: {type(problem).__name__}: {problem!s:.100}", where=where
        ) from problem
    return new


def _model(document: Mapping[str, Any]) -> dict[str, Any]:
    booster = document["learner"]["gradient_booster"]
    model: dict[str, Any] = booster["model"]
    return model


def _scaled(tree: Mapping[str, Any], factor: float) -> Mapping[str, Any]:
    ends = np.asarray(tree["left_children"]) == -1
    changed = dict(tree)
    for name in ("split_conditions", "base_weights"):  # a node without children keeps its value in both
        values = np.asarray(tree[name], np.float32)
        values[ends] *= np.float32(factor)
        changed[name] = [float(str(value)) for value in values]
    return changed


def _shown(head: Mapping[str, Any]) -> str:
    parameters = {name: value for name, value in head.get("learner_model_param", {}).items() if value not in ("0", "1")}
    return f"{head.get('objective', {}).get('name')} ({', '.join(f'{n}={v}' for n, v in parameters.items())})"


def _check_set(new: Trees) -> None:
    if sum(new.iterations) != len(new.trees) or len(new.classes) != len(new.trees):
        raise DataError(
            f"{len(new.trees)} trees, of {len(new.classes)} classes, in iterations of {sum(new.iterations)} in all"
        )
    classes = max(1, int(new.head["learner_model_param"]["num_class"]))
    if any(not 0 <= label < classes for label in new.classes) or any(size < 1 for size in new.iterations):
        raise DataError(f"a tree is for a class that is none of {classes}, or an iteration is empty")


def _check_tree(tree: Mapping[str, Any], features: int) -> None:
    nodes = int(tree["tree_param"]["num_nodes"])
    sizes = {name: len(tree[name]) for name in _PER_NODE}
    if nodes < 1 or set(sizes.values()) != {nodes}:
        raise DataError(f"a tree of {nodes} nodes has {sizes}")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1 or any(tree["split_type"]) or tree["categories"]:
        raise DataError("a tree has vectors in its leaves, or splits by category: neither can be joined")
    if int(tree["tree_param"]["num_feature"]) != features:
        raise DataError(f"a tree is of {tree['tree_param']['num_feature']} features, and the model of {features}")
    with np.errstate(over="ignore"):
        if not all(np.isfinite(np.asarray(tree[name], np.float32)).all() for name in _NUMBERS):
            raise DataError("a tree holds NaN or infinity")
    left, right, parents, splits = (
        _whole(tree, name) for name in ("left_children", "right_children", "parents", "split_indices")
    )
    inner = left != -1
    if ((splits[inner] < 0) | (splits[inner] >= features)).any():
        raise DataError(f"a tree splits by feature {int(splits[inner].max())}, and there are {features}")
    reached, waiting = np.zeros(nodes, bool), [0]
    while waiting:
        node = waiting.pop()
        reached[node] = True
        if not inner[node]:
            continue
        for child in (int(left[node]), int(right[node])):
            if not 0 <= child < nodes or reached[child] or parents[child] != node:
                raise DataError("the nodes of a tree are no tree: one has two parents, or does not exist")
            waiting.append(child)


def _whole(tree: Mapping[str, Any], name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    if any(type(value) is not int for value in tree[name]):
        raise DataError(f"{name} of a tree are whole numbers")
    return np.array(tree[name], np.int64)
