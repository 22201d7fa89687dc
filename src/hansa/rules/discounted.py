"""Discounted: any rule, over updates that count for less the older the model is from which they were computed.

An update brings its staleness along, which the executor fills in; so this stays a monoid. This file must not know who sets a
limit, or why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hansa.core import tree
from hansa.core.ask import AggregationRule
from hansa.core.tree import Tree, is_floating
from hansa.core.work import Update
from hansa.errors import AggregationError, ConfigError
from hansa.rules.mean import WeightedMean
from hansa.rules.staleness import Polynomial, Staleness


@dataclass(frozen=True)
class Discounted:
    """Multiply every update by s(its staleness), and leave the rest to another rule.

    The discount is on the update, not on its weight: with `WeightedMean(equal=True)` the aggregate of K updates is
    (1/K)·Σ s(τ_i)·Δ_i. Were the weights discounted instead, the division by Σ s(τ_i) would take the discount off again, and
    K updates that are all equally old would count as if they were fresh. An update with s(τ) = 1 passes bit for bit.

    Leaves that are no floats (counters, masks) are facts, and pass as they are.

    Attributes:
        rule: how the discounted updates become one.
        staleness: s.
        most: an update that is staler is refused; None for no limit.
        values: leaves that hold a value and not a change of one, such as statistics that are sent whole: they count in full.
            Half a variance would be a wrong variance.
    """

    rule: AggregationRule[Any] = WeightedMean(equal=True)
    staleness: Staleness = Polynomial(0.5)
    most: int | None = None
    values: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 0:
            raise ConfigError(f"the largest staleness is at least 0, not {self.most}")

    @property
    def grows(self) -> bool:
        """Whether the other rule does."""
        return self.rule.grows

    def zero(self) -> Any:
        """No updates."""
        return self.rule.zero()

    def check(self, accumulator: Any, update: Update) -> None:
        """Raise `AggregationError` for an update that is too stale, and what the other rule raises."""
        if self.most is not None and update.staleness > self.most:
            raise AggregationError(
                f"its update is {update.staleness} model updates behind, and at most {self.most} are allowed",
                hint="ask fewer clients at a time, or allow a larger staleness",
            )
        self.rule.check(accumulator, update)

    def accumulate(self, accumulator: Any, update: Update) -> Any:
        """One update more, discounted."""
        self.check(accumulator, update)
        return self.rule.accumulate(accumulator, self._discounted(update))

    def merge(self, a: Any, b: Any) -> Any:
        """The updates of both."""
        return self.rule.merge(a, b)

    def finish(self, accumulator: Any) -> Tree:
        """What the other rule makes of the discounted updates."""
        return self.rule.finish(accumulator)

    def over(self, change: Callable[[AggregationRule[Any]], AggregationRule[Any]]) -> Discounted:
        """The same around what `change` makes of the other rule."""
        return replace(self, rule=change(self.rule))

    def _discounted(self, update: Update) -> Update:
        factor = self.staleness(update.staleness)
        if factor == 1.0:
            return update
        changes = {name: leaf for name, leaf in update.tree.items() if is_floating(leaf) and name not in self.values}
        return replace(update, tree={**update.tree, **tree.scale(changes, factor)})
