"""Rules made of rules: two of the same updates, or one for each part of an update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from hansa.core.ask import AggregationRule
from hansa.core.tree import Tree, join
from hansa.core.work import Update
from hansa.errors import ConfigError, TreeMismatch
from hansa.rules.mean import WeightedMean


@dataclass(frozen=True)
class Both:
    """Two rules over the same updates: `Both(WeightedMean(), Collect())` where each client's own is wanted besides the mean.

    The aggregate is joined: `part(aggregate, "first")` and `part(aggregate, "second")`.
    """

    first: AggregationRule[Any]
    second: AggregationRule[Any]

    @property
    def grows(self) -> bool:
        """Whether one of the two does."""
        return self.first.grows or self.second.grows

    def zero(self) -> tuple[Any, Any]:
        """No updates."""
        return self.first.zero(), self.second.zero()

    def check(self, accumulator: tuple[Any, Any], update: Update) -> None:
        """Raise what one of the two raises."""
        self.first.check(accumulator[0], update)
        self.second.check(accumulator[1], update)

    def accumulate(self, accumulator: tuple[Any, Any], update: Update) -> tuple[Any, Any]:
        """One update more, for each."""
        self.check(accumulator, update)
        return self.first.accumulate(accumulator[0], update), self.second.accumulate(accumulator[1], update)

    def merge(self, a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
        """The updates of both accumulators."""
        return self.first.merge(a[0], b[0]), self.second.merge(a[1], b[1])

    def finish(self, accumulator: tuple[Any, Any]) -> Tree:
        """Both results, joined."""
        return join({"first": self.first.finish(accumulator[0]), "second": self.second.finish(accumulator[1])})


@dataclass(frozen=True)
class ByPrefix:
    """A rule for each part of an update: a leaf goes to the rule whose prefix its name starts with; the longest wins.

    `ByPrefix({"": WeightedMean(), "head.": Collect()})` averages everything but the head. A leaf's result has the name that
    its rule gives it: for a mean its own, for `Collect` one for each client.
    """

    rules: Mapping[str, AggregationRule[Any]]

    def __post_init__(self) -> None:
        if not self.rules:
            raise ConfigError("ByPrefix needs at least one rule", hint='give one for the prefix "" to match every leaf')

    @property
    def grows(self) -> bool:
        """Whether one of them does."""
        return any(rule.grows for rule in self.rules.values())

    def zero(self) -> dict[str, Any]:
        """No updates."""
        return {prefix: rule.zero() for prefix, rule in self.rules.items()}

    def check(self, accumulator: dict[str, Any], update: Update) -> None:
        """Raise `TreeMismatch` for a leaf that no prefix matches, and what the rules raise of their parts."""
        self._check(accumulator, self._parts(update))

    def accumulate(self, accumulator: dict[str, Any], update: Update) -> dict[str, Any]:
        """One update more, each leaf for its own rule."""
        parts = self._parts(update)
        self._check(accumulator, parts)
        return {prefix: rule.accumulate(accumulator[prefix], parts[prefix]) for prefix, rule in self.rules.items()}

    def merge(self, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
        """The updates of both."""
        return {prefix: rule.merge(a[prefix], b[prefix]) for prefix, rule in self.rules.items()}

    def finish(self, accumulator: dict[str, Any]) -> Tree:
        """The results of all rules in one tree."""
        return {
            name: leaf for prefix, rule in self.rules.items() for name, leaf in rule.finish(accumulator[prefix]).items()
        }

    def _check(self, accumulator: dict[str, Any], parts: Mapping[str, Update]) -> None:
        for prefix, part in parts.items():
            self.rules[prefix].check(accumulator[prefix], part)

    def _parts(self, update: Update) -> dict[str, Update]:
        """The update cut up, a part for each rule."""
        parts: dict[str, Tree] = {prefix: {} for prefix in self.rules}
        for name, leaf in update.tree.items():
            parts[self._prefix(name)][name] = leaf
        return {prefix: replace(update, tree=part) for prefix, part in parts.items()}

    def _prefix(self, name: str) -> str:
        matching = [prefix for prefix in self.rules if name.startswith(prefix)]
        if not matching:
            raise TreeMismatch(
                f"no rule for leaf {name!r}: the prefixes are {', '.join(map(repr, self.rules))}",
                hint='add a rule for the prefix "" to match every other leaf',
            )
        return max(matching, key=len)


@runtime_checkable
class Around(Protocol):
    """A rule that does something with each update, and leaves the rest to another rule."""

    def over(self, change: Callable[[AggregationRule[Any]], AggregationRule[Any]]) -> AggregationRule[Any]:
        """The same around what `change` makes of the other rule."""
        ...


def rounding(rule: AggregationRule[Any]) -> AggregationRule[Any]:
    """The same rule with means that are summed in the leaves' own precision: quicker, and equal within rounding."""
    match rule:
        case WeightedMean():
            return replace(rule, exact=False)
        case Both(first, second):
            return Both(rounding(first), rounding(second))
        case ByPrefix(rules):
            return ByPrefix({prefix: rounding(each) for prefix, each in rules.items()})
    return rule.over(rounding) if isinstance(rule, Around) else rule
