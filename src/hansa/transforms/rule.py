"""Decoded: a rule over updates as they are before they were encoded. This file must not know how they were, or which rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hansa.core.ask import AggregationRule
from hansa.core.tree import Tree, check_alike, not_finite
from hansa.core.work import Update
from hansa.errors import AggregationError
from hansa.transforms.transform import Transform


@dataclass(frozen=True)
class Decoded:
    """Decode each update, then do what a rule does.

    The update gate has seen the encoded leaves; here it is seen to that the decoded ones are finite too.

    Attributes:
        rule: what is done with the decoded updates.
        transform: what they were encoded by.
        form: names, shapes and dtypes of a decoded update.
    """

    rule: AggregationRule[Any]
    transform: Transform
    form: Tree

    @property
    def grows(self) -> bool:
        """Whether the rule's accumulator does."""
        return self.rule.grows

    def zero(self) -> Any:
        """The rule's."""
        return self.rule.zero()

    def check(self, accumulator: Any, update: Update) -> None:
        """Raise `TreeMismatch` or `AggregationError` where an update cannot be decoded, or the rule refuses it."""
        self.rule.check(accumulator, self._decoded(update))

    def accumulate(self, accumulator: Any, update: Update) -> Any:
        """One update more."""
        return self.rule.accumulate(accumulator, self._decoded(update))

    def merge(self, a: Any, b: Any) -> Any:
        """The updates of both."""
        return self.rule.merge(a, b)

    def finish(self, accumulator: Any) -> Tree:
        """The rule's result."""
        return self.rule.finish(accumulator)

    def over(self, change: Callable[[AggregationRule[Any]], AggregationRule[Any]]) -> Decoded:
        """Another rule over the same decoded updates."""
        return replace(self, rule=change(self.rule))

    def _decoded(self, update: Update) -> Update:
        where = f"the update of client {update.client!r}"
        check_alike(update.tree, self.transform.form(self.form), where=where)
        decoded = self.transform.decode(update.tree, self.form)
        if (name := not_finite(decoded)) is not None:
            raise AggregationError(f"leaf {name!r} is not finite (NaN or infinity) once it is decoded", where=where)
        return replace(update, tree=decoded)
