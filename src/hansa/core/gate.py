"""The update gate: what an update must be before it may touch an average. On by default, everywhere.

A rejected update is seen in the History with its reason, and never stops a round by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import cast

import numpy as np

from hansa.core import tree
from hansa.core.metrics import Metrics
from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.errors import InputError, TreeMismatch


def as_update(answer: object) -> Update:
    """What a work returned, if it is an update at all.

    Raises:
        InputError: it is something else, or its parts are.
    """
    hint = "let the work return hansa.Update(tree, weight, metrics), the tree a dict of NumPy arrays by name"
    if not isinstance(answer, Update):
        raise InputError(f"the work returned {type(answer).__name__}, expected an Update", hint=hint)
    leaves, state = cast("tuple[object, object]", (answer.tree, answer.state))  # whatever their annotations promise
    if not _is_tree(leaves):
        raise InputError("the update's tree is no dict of NumPy arrays", hint=hint)
    if state is not None and not _is_tree(state):
        raise InputError("the next private state is no dict of NumPy arrays", hint="keep numbers as np.array(number)")
    weight, metrics = cast("tuple[object, object]", (answer.weight, answer.metrics))
    if not isinstance(weight, Real) or not isinstance(metrics, Metrics):
        raise InputError("the update's weight is no number, or its metrics are no Metrics", hint=hint)
    return answer


HEAVIEST = 1000
"""A weight is at most so many times the number of examples that its client announced."""


def refusal(update: Update, form: Tree | None = None, examples: int | None = None) -> str | None:
    """Why an update must not be used, or None where it may.

    Args:
        update: the update.
        form: the names, shapes and dtypes that it must have; None where only the aggregation rule knows.
        examples: how many its client announced; None where nobody knows.
    """
    if not (math.isfinite(update.weight) and update.weight >= 0):
        return f"its weight is {update.weight}; a weight is a finite number of at least 0"
    if examples is not None and update.weight > HEAVIEST * max(1, examples):
        return f"its weight is {update.weight:g}, and its client announced {examples} examples: it would outweigh all others"
    if form is not None:
        try:
            tree.check_alike(update.tree, form)
        except TreeMismatch as problem:
            return problem.what
    if (name := tree.not_finite(update.tree)) is not None:
        losses = {name: value for name, value in update.metrics.numbers().items() if not math.isfinite(value)}
        measured = "".join(f"; it reports {metric} = {value}" for metric, value in losses.items())
        return f"leaf {name!r} is not finite (NaN or infinity){measured}"
    return None


def _is_tree(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(leaf, np.ndarray) for leaf in value.values())
