"""What a task returned, as metrics that merge.

This file must not know what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from hansa.core.metrics import Mean, Metric, Metrics
from hansa.errors import ConfigError, DataError
from hansa.training.tasks.task import Task

EXAMPLES = "examples"
"""The entry of what a task returns that is no metric: how many examples it saw."""


@dataclass(frozen=True)
class Returned:
    """What a task returned.

    Attributes:
        metrics: what it measured.
        examples: how many examples that is about; what counts a plain number among the metrics.
        model: the changed model, of a framework whose models are values; None where the given one was changed in place.
    """

    metrics: Metrics
    examples: float
    model: Any = None


def returned(task: Task, found: object, counted: int | None, where: str) -> Returned:
    """What a task returned, read.

    Args:
        task: the task.
        found: what it returned: metrics by name or, of a training task, (model, metrics).
        counted: how many examples its loader has; None where that is not known, and the task must say.
        where: the client and the task, for errors.

    Raises:
        ConfigError: it is something else; the message shows the expected signature and the found one.
        DataError: there were no examples.
    """
    model = None
    if task.train and isinstance(found, tuple) and len(found) == 2:
        model, found = found
    if not isinstance(found, Mapping):
        raise _misfit(task, f"returned {type(found).__name__}, expected numbers by name", where)
    numbers = dict(found)
    examples = _number(task, EXAMPLES, numbers.pop(EXAMPLES), where) if EXAMPLES in numbers else counted
    if examples is None:
        raise ConfigError(
            "nobody knows how many examples there are: the loader has no length, and the task does not say",
            where=where,
            hint=f'let it count them and return {{..., "{EXAMPLES}": count}}',
        )
    if not (math.isfinite(examples) and examples >= 0):
        raise _misfit(task, f'returned {examples} as "{EXAMPLES}", which is no number of examples', where)
    if not examples:
        raise no_examples(where)
    measured: dict[str, Metric] = {}
    for name, value in numbers.items():
        if not isinstance(name, str):
            raise _misfit(task, f"returned a metric named {name!r:.40}, and names are texts", where)
        own = isinstance(value, Metric)
        measured[name] = value if own else Mean.of(_number(task, name, value, where), examples)
    return Returned(Metrics(measured), examples, model)


def no_examples(where: str, split: str | None = None) -> DataError:
    """The error for a loader with nothing in it."""
    what = "there are no examples" + ("" if split is None else f" in the split {split!r}")
    return DataError(what, where=where, hint="give the client data in that split, or leave it out of the cohort")


def _number(task: Task, name: str, value: Any, where: str) -> float:
    """A number of Python's, or an array of some framework without an axis."""
    if isinstance(value, Real):
        return float(value)
    if getattr(value, "ndim", None) == 0:
        return float(value.item())
    what = f"returned {type(value).__name__} as {name!r}, expected a number, or a metric of Hansa's"
    raise _misfit(task, what, where)


def _misfit(task: Task, what: str, where: str) -> ConfigError:
    return ConfigError(
        f"the task {task.name!r} {what}\n  found:    {task.signature}\n  expected: {task.expected}",
        where=where,
        hint='let it end in: return {"name": number, ...}',
    )
