"""Metrics that merge: what a client measured and what a cohort measured are the same kind of value.

Each metric is a commutative monoid with exact sums (`fractions.Fraction`), so that a mean over a thousand clients has the
same bits in whatever order they report and however they are grouped on the way.

This file must not know what is measured, or by whom.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from hansa.core.ranking import Ranking
from hansa.core.tree import Array
from hansa.errors import ConfigError, DataError, InputError, UnknownName

Number = Fraction | float
"""An exact number; a float only where it is NaN or infinite."""


def _exact(value: Any) -> Number:
    number = float(value) if not isinstance(value, Fraction) else value
    return Fraction(number) if math.isfinite(number) else float(number)


def _plus(a: Number, b: Number) -> Number:
    """a + b, exact; what is not finite stays so beside any number, however large."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a + b
    return a + b if isinstance(a, float) and isinstance(b, float) else a if isinstance(a, float) else b


def _rounded(number: Number) -> float:
    """The nearest float; infinite beyond its range."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _finite(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None


@runtime_checkable
class Metric(Protocol):
    """A measured value that merges with others of its kind."""

    @property
    def value(self) -> float:
        """The measure as one number; NaN where nothing was measured."""
        ...

    def merge(self, other: Self) -> Self:
        """This and `other` together: associative and commutative, to the last bit."""
        ...

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `metric_from_json` makes an equal metric."""
        ...


@dataclass(frozen=True, slots=True)
class Mean:
    """A weighted mean: `total` = Σ weight·value, kept apart from `weight` = Σ weight."""

    total: Number
    weight: Fraction

    @classmethod
    def of(cls, value: float, weight: float = 1.0) -> Mean:
        """One value that counts `weight` times."""
        if not weight >= 0 or math.isinf(weight):
            raise ConfigError(f"a mean's weight is a finite number of at least 0, not {weight}")
        return cls(_exact(value) * Fraction(weight), Fraction(weight))

    @classmethod
    def share(cls, hits: int, of: int) -> Mean:
        """The share of `hits` among `of` examples, such as an accuracy."""
        return cls(Fraction(hits), Fraction(of))

    @property
    def value(self) -> float:
        """The mean; NaN without any weight."""
        if not self.weight:
            return math.nan
        return _rounded(self.total / self.weight if isinstance(self.total, Fraction) else self.total)

    def merge(self, other: Mean) -> Mean:
        """The mean over both."""
        return Mean(_plus(self.total, other.total), self.weight + other.weight)

    def to_json(self) -> dict[str, Any]:
        """`{"kind": "mean", "value", "total", "weight"}`; the sums as exact fractions."""
        return {"kind": "mean", "value": _finite(self.value), "total": str(self.total), "weight": str(self.weight)}


@dataclass(frozen=True, slots=True)
class Sum:
    """A plain sum, such as a number of examples or bytes."""

    total: Number

    @classmethod
    def of(cls, value: float) -> Sum:
        """One value."""
        return cls(_exact(value))

    @property
    def value(self) -> float:
        """The sum."""
        return _rounded(self.total)

    def merge(self, other: Sum) -> Sum:
        """The sum of both."""
        return Sum(_plus(self.total, other.total))

    def to_json(self) -> dict[str, Any]:
        """`{"kind": "sum", "value", "total"}`."""
        return {"kind": "sum", "value": _finite(self.value), "total": str(self.total)}


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """How often each class was taken for each: `counts[true][predicted]`.

    Precision, recall and F1 follow the usual definitions per class; a ratio without any example is 0.
    """

    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, predicted: Array, true: Array, classes: int) -> ConfusionMatrix:
        """Count predictions.

        Args:
            predicted: integer classes, shape (n,).
            true: integer classes, shape (n,).
            classes: the number of classes.

        Raises:
            DataError: a class outside [0, classes).
        """
        for what, labels in (("prediction", predicted), ("label", true)):
            outside = labels[(labels < 0) | (labels >= classes)]
            if outside.size:
                raise DataError(
                    f"a {what} is {outside[0]}, but there are {classes} classes, numbered from 0 to {classes - 1}",
                    hint="check the labels, or the number of classes that the model tells apart",
                )
        flat = np.bincount(true.astype(np.int64) * classes + predicted.astype(np.int64), minlength=classes * classes)
        return cls(tuple(tuple(map(int, row)) for row in flat.reshape(classes, classes)))

    @property
    def array(self) -> Array:
        """The counts as int64, shape (classes, classes): rows true, columns predicted."""
        return np.array(self.counts, np.int64)

    @property
    def value(self) -> float:
        """The accuracy: the share on the diagonal."""
        array = self.array
        return float(array.trace() / array.sum()) if array.any() else math.nan

    @property
    def precision(self) -> Array:
        """Per class, float64: of those predicted, the share that is."""
        array = self.array
        return _ratio(array.diagonal(), array.sum(axis=0))

    @property
    def recall(self) -> Array:
        """Per class, float64: of those that are, the share predicted."""
        array = self.array
        return _ratio(array.diagonal(), array.sum(axis=1))

    @property
    def f1(self) -> Array:
        """Per class, float64: the harmonic mean of precision and recall, 2·TP / (2·TP + FP + FN)."""
        array = self.array
        return _ratio(2 * array.diagonal(), array.sum(axis=0) + array.sum(axis=1))

    def predicted_shares(self, groups: Sequence[Collection[int]]) -> list[float]:
        """For each group of classes, the share of all predictions that fall in it."""
        predicted = self.array.sum(axis=0)
        return [
            float(predicted[list(group)].sum() / predicted.sum()) if predicted.any() else math.nan for group in groups
        ]

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The counts of both."""
        if len(self.counts) != len(other.counts):
            sizes = f"{len(self.counts)} and {len(other.counts)}"
            raise InputError(
                f"confusion matrices of {sizes} classes do not add up", hint="name the classes for all clients alike"
            )
        pairs = zip(self.counts, other.counts, strict=True)
        return ConfusionMatrix(tuple(tuple(a + b for a, b in zip(mine, theirs, strict=True)) for mine, theirs in pairs))

    def to_json(self) -> dict[str, Any]:
        """`{"kind": "confusion", "value", "counts"}`."""
        return {"kind": "confusion", "value": _finite(self.value), "counts": [list(row) for row in self.counts]}


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def metric_from_json(data: Mapping[str, Any]) -> Metric:
    """The metric that `to_json` described.

    Raises:
        UnknownName: a kind of metric that this version does not know.
    """
    match data["kind"]:
        case "mean":
            return Mean(_from_text(data["total"]), Fraction(data["weight"]))
        case "sum":
            return Sum(_from_text(data["total"]))
        case "confusion":
            return ConfusionMatrix(tuple(tuple(row) for row in data["counts"]))
        case "ranking":
            return Ranking(tuple((place, zeros, ones) for place, zeros, ones in data["counts"]))
    raise UnknownName.among("kind of metric", data["kind"], ["mean", "sum", "confusion", "ranking"])


def _from_text(text: str) -> Number:
    return float(text) if text in ("nan", "inf", "-inf") else Fraction(text)


class Metrics(Mapping[str, Metric]):
    """Named metrics. Merging is by name; a name that only one side has is kept. `Metrics()` is neutral."""

    __slots__ = ("_metrics",)

    def __init__(self, metrics: Mapping[str, Metric] | None = None, /) -> None:
        self._metrics = dict(metrics or {})

    def __getitem__(self, name: str) -> Metric:
        try:
            return self._metrics[name]
        except KeyError:
            raise UnknownName.among("metric", name, self._metrics) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def __contains__(self, name: object) -> bool:
        return name in self._metrics

    def __repr__(self) -> str:
        return f"Metrics({', '.join(f'{name}={metric.value:.6g}' for name, metric in self._metrics.items())})"

    def value(self, name: str) -> float:
        """The metric `name` as one number."""
        return self[name].value

    def numbers(self) -> dict[str, float]:
        """Every metric as one number."""
        return {name: metric.value for name, metric in self._metrics.items()}

    def under(self, namespace: str) -> Metrics:
        """The same metrics, each name preceded by `namespace/`."""
        return Metrics({f"{namespace}/{name}": metric for name, metric in self._metrics.items()})

    def merge(self, other: Metrics) -> Metrics:
        """Both, merged name by name.

        Raises:
            InputError: one name stands for different kinds of metric.
        """
        merged = dict(self._metrics)
        for name, metric in other.items():
            mine = merged.get(name)
            if mine is not None and type(mine) is not type(metric):
                kinds = f"{type(mine).__name__} and {type(metric).__name__}"
                raise InputError(
                    f"metric {name!r} is a {kinds} at once", hint="let every client report it in the same way"
                )
            merged[name] = metric if mine is None else mine.merge(metric)
        return Metrics(merged)

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes equal metrics."""
        return {name: metric.to_json() for name, metric in self._metrics.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metrics:
        """The metrics that `to_json` described."""
        return cls({name: metric_from_json(each) for name, each in data.items()})
