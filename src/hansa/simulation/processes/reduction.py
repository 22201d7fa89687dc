"""Which rules may be summed in parts where bits matter. This file must not know who sums."""

from __future__ import annotations

from typing import Any

from hansa.core.ask import AggregationRule
from hansa.rules import Both, ByPrefix, Collect, WeightedMean
from hansa.rules.discounted import Discounted
from hansa.rules.moments import Moments
from hansa.rules.trees import JoinedTrees
from hansa.transforms import Decoded


def merges_exactly(rule: AggregationRule[Any]) -> bool:
    """Whether a rule is known to give the same bits however the updates are grouped; one of somebody's own is not."""
    kind: type[Any] = type(rule)
    if kind is Both:
        return merges_exactly(rule.first) and merges_exactly(rule.second)  # type: ignore[attr-defined]  # a Both
    if kind is ByPrefix:
        return all(map(merges_exactly, rule.rules.values()))  # type: ignore[attr-defined]  # a ByPrefix
    if kind is Decoded:
        return merges_exactly(rule.rule)  # type: ignore[attr-defined]  # a Decoded
    if kind is Discounted:
        return merges_exactly(rule.rule)  # type: ignore[attr-defined]  # a Discounted
    if kind is WeightedMean:
        return bool(rule.exact)  # type: ignore[attr-defined]  # a WeightedMean
    return kind in (Collect, Moments, JoinedTrees)
