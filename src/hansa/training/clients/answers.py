"""What client code hands over: parameters as lists of arrays, and what `fit` and `evaluate` return, held against its form.

This file must not know how a client is made, or what becomes of its answer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from hansa.core import tree
from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Array, Tree
from hansa.errors import InputError, TreeMismatch

_FIT = "a tuple (list of NumPy arrays, number of examples, dict of metrics)"
_EVALUATE = "a tuple (loss, number of examples, dict of metrics)"

# --- parameters by position and by name


def named(arrays: Sequence[Array], names: Sequence[str] | None = None) -> Tree:
    """Arrays as a tree.

    Args:
        arrays: in order.
        names: theirs; "0", "1", ... unless given, padded with zeros so that sorting keeps the order.

    Raises:
        TreeMismatch: there are more names than arrays, or fewer.
    """
    if names is None:
        names = _positions(len(arrays))
    if len(names) != len(arrays):
        raise TreeMismatch(
            f"{len(arrays)} arrays and {len(names)} names", hint="name every array once, in the order of the list"
        )
    return dict(zip(names, arrays, strict=True))


def in_order(params: Tree, names: Sequence[str] | None = None) -> list[Array]:
    """A tree's arrays as a list, in the order of the names; the inverse of `named`.

    Raises:
        TreeMismatch: the leaves have other names, so nobody knows their order.
    """
    order = _positions(len(params)) if names is None else names
    if set(order) != params.keys() or len(order) != len(params):
        raise TreeMismatch(
            f"the parameters are named {', '.join(map(repr, list(params)[:6]))}, and not {', '.join(map(repr, order[:6]))}",
            hint="give the names in their order: Clients(client_fn, names=tuple(model.state_dict()))",
        )
    return [params[name] for name in order]


@functools.cache
def _positions(count: int) -> tuple[str, ...]:
    width = len(str(max(0, count - 1)))
    return tuple(f"{position:0{width}}" for position in range(count))


def writable(arrays: Sequence[Array]) -> list[Array]:
    """Copies that the receiver may change."""
    return [np.array(array) for array in arrays]


# --- what client code returns


class Fitted(NamedTuple):
    """What `fit` returned, once it is known to have that form."""

    arrays: list[Array]
    examples: int
    metrics: Mapping[str, Any]


class Measured(NamedTuple):
    """What `evaluate` returned, once it is known to have that form."""

    loss: float
    examples: int
    metrics: Mapping[str, Any]


def fitted(answer: object, where: str) -> Fitted:
    """What `fit` returned, if it is arrays, a number of examples and a dict.

    Raises:
        InputError: says the expected and the found.
    """
    arrays, examples, metrics = _three(answer, _FIT, where)
    return Fitted(checked_arrays(arrays, _FIT, where), _examples(examples, _FIT, where), _metrics(metrics, _FIT, where))


def evaluated(answer: object, where: str) -> Measured:
    """What `evaluate` returned, if it is a loss, a number of examples and a dict.

    Raises:
        InputError: says the expected and the found.
    """
    loss, examples, metrics = _three(answer, _EVALUATE, where)
    number = plain(loss)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _wrong(f"{_EVALUATE}, its loss a number", loss, where)
    return Measured(float(number), _examples(examples, _EVALUATE, where), _metrics(metrics, _EVALUATE, where))


def checked_arrays(arrays: object, expected: str, where: str) -> list[Array]:
    """A list of NumPy arrays, if it is one; NumPy's scalars become arrays without an axis.

    Raises:
        InputError: it is something else, or something else is in it.
    """
    if not isinstance(arrays, list | tuple):
        raise _wrong(f"{expected}, its arrays in a list", arrays, where)
    for position, array in enumerate(arrays):
        if not isinstance(array, np.ndarray | np.generic) or array.dtype.hasobject:
            raise InputError(
                f"array {position} is a {_said(array)}; expected a NumPy array",
                where=where,
                hint="convert it, such as tensor.detach().cpu().numpy()",
            )
    return [np.asarray(array) for array in arrays]


def alike(arrays: Sequence[Array], given: Sequence[Array], where: str) -> list[Array]:
    """Arrays in the dtypes of those that the client was given, if there are as many of the same shapes.

    A float becomes the float that was given: plain arithmetic widens one easily.

    Raises:
        TreeMismatch: there are more or fewer, or one has another shape, or is no float where a float was given.
    """
    if len(arrays) != len(given):
        raise TreeMismatch(
            f"it returned {len(arrays)} arrays, and it was given {len(given)}",
            where=where,
            hint="return all of the model's parameters, in the order in which they came",
        )
    for position, (new, old) in enumerate(zip(arrays, given, strict=True)):
        if new.shape != old.shape or not (new.dtype == old.dtype or (tree.is_floating(new) and tree.is_floating(old))):
            raise TreeMismatch(
                f"array {position} has shape {new.shape} and dtype {new.dtype}, expected {old.shape} and {old.dtype}",
                where=where,
                hint="return the model's parameters, in the order in which they came",
            )
    return [new.astype(old.dtype, copy=False) for new, old in zip(arrays, given, strict=True)]


def measured(metrics: Mapping[str, Any], examples: float, where: str) -> Metrics:
    """Numbers by name as metrics, each a mean over so many examples.

    Raises:
        InputError: a metric is no number.
    """
    found = {}
    for name, value in metrics.items():
        number = plain(value)
        if not isinstance(number, int | float):
            raise InputError(
                f"metric {name!r} is a {_said(value)}; expected a number",
                where=where,
                hint="report numbers, such as float(loss); what is text belongs into a log",
            )
        found[name] = Mean.of(float(number), float(examples))
    return Metrics(found)


def plain(value: Any) -> Any:
    """A scalar of NumPy, or an array of one without an axis, as Python's own; anything else as it is."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and not value.shape else value


def _three(answer: object, expected: str, where: str) -> tuple[Any, Any, Any]:
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise _wrong(expected, answer, where)
    first, second, third = answer
    return first, second, third


def _examples(examples: Any, expected: str, where: str) -> int:
    number = plain(examples)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
        raise _wrong(f"{expected}, its number of examples at least 0", examples, where)
    return cast("int", number)


def _metrics(metrics: Any, expected: str, where: str) -> Mapping[str, Any]:
    if not isinstance(metrics, Mapping) or not all(isinstance(name, str) for name in metrics):
        raise _wrong(f"{expected}, its metrics by name", metrics, where)
    return metrics


def _wrong(expected: str, found: object, where: str) -> InputError:
    return InputError(f"expected {expected}; found {_said(found)}", where=where, hint="return that from the method")


def _said(value: object) -> str:
    """A value in few words: a tuple by its parts' kinds, a number itself, anything else by its kind."""
    if isinstance(value, tuple):
        return f"a tuple ({', '.join(type(each).__name__ for each in value)})"
    return repr(value) if isinstance(value, int | float) or value is None else type(value).__name__
