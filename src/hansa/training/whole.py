"""Whole: a training that sends some leaves as they are after it, and not as the change that it made to them.

Where the server has moved on since the broadcast, as in an asynchronous run, a change says nothing of where the client is: only
the client knows from which model it started. This file must not know who asks, or when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hansa.core import tree
from hansa.core.ask import AggregationRule
from hansa.core.tree import Tree, is_floating
from hansa.core.work import ClientContext, TrainingWork, Update
from hansa.training.kept import Carrying, parted


@dataclass(frozen=True)
class Whole:
    """A training whose update holds leaves themselves instead of their changes.

    Attributes:
        local: the training.
        only: the names of the leaves to send whole; None for all of the model's.
    """

    local: TrainingWork
    only: frozenset[str] | None = None

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The training's update, with the client's own value of these leaves: what it was given, moved by its change."""
        update, given = self.local(broadcast, context), parted(broadcast)[0]
        names = self.whole(given) & update.tree.keys()
        own = tree.moved({name: given[name] for name in names}, {name: update.tree[name] for name in names})
        return replace(update, tree={**update.tree, **own})

    def whole(self, params: Tree) -> frozenset[str]:
        """Which leaves of a model are sent whole, of those that would otherwise be changes."""
        return frozenset(
            name for name, leaf in params.items() if is_floating(leaf) and (self.only is None or name in self.only)
        )

    @property
    def buffers(self) -> frozenset[str]:
        """The training's."""
        return self.local.buffers

    @property
    def rules(self) -> Mapping[str, AggregationRule[Any]]:
        """The training's own rules, where it has any."""
        rules: Mapping[str, AggregationRule[Any]] = getattr(self.local, "rules", {})
        return rules

    def carried(self, params: Tree) -> Tree:
        """What the training carries beside the model; see `hansa.training.kept.Carrying`."""
        return self.local.carried(params) if isinstance(self.local, Carrying) else {}
