"""A chain: several works in one visit, each on what the one before it made of the model.

This file must not know what the works do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hansa.core import tree
from hansa.core.ask import AggregationRule
from hansa.core.metrics import Metrics
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, Work
from hansa.errors import ConfigError
from hansa.training import kept


@dataclass(frozen=True)
class Chained:
    """One work made of several; make it with `chain`.

    The update is the change that they make together, its weight that of the first that trains. Metrics and private states
    are told apart by the works' names. Up to and including the first that trains they have the visit's own key, so that an
    evaluation before or after it changes no number of a training.

    Attributes:
        works: by name, in their order.
    """

    works: Mapping[str, Work]

    def __post_init__(self) -> None:
        if not self.works:
            raise ConfigError(
                "a chain of no works", hint="name them: chain(validate=..., train=..., validate_local=...)"
            )

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The works, one after the other."""
        given, carried = kept.parted(broadcast)
        params, metrics, states = given, Metrics(), dict(tree.parts(context.state))
        updates, trained = list[Update](), list[Update]()
        for name, work in self.works.items():
            key = context.key.child("chain", name) if trained else context.key
            seen = {**params, **carried} if isinstance(work, kept.Carrying) else params
            update = work(seen, replace(context, key=key, state=states.get(name, {})))
            change, optimizer = kept.parted(update.tree)
            updates.append(update)
            metrics = metrics.merge(update.metrics.under(name))
            if change:
                trained.append(update)
                params, carried = tree.moved(params, change), optimizer or carried
            if update.state is not None:
                states[name] = update.state
        whole = Update({}, updates[0].weight, metrics, tree.join(states) if states else None)
        if len(trained) == 1:  # as it is: moving the parameters by a change and back would round it
            return replace(whole, tree=trained[0].tree, weight=trained[0].weight)
        if trained:
            return replace(whole, tree={**tree.difference(params, given), **carried}, weight=trained[0].weight)
        return whole

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves that no optimiser should touch, of all of them."""
        return frozenset().union(*(getattr(work, "buffers", ()) for work in self.works.values()))

    @property
    def rules(self) -> Mapping[str, AggregationRule[Any]]:
        """How updates become one, where one of the works says so; see `hansa.Tasks`.

        Raises:
            ConfigError: two of them say different things of the same leaves.
        """
        rules: dict[str, AggregationRule[Any]] = {}
        for work in self.works.values():
            for prefix, rule in getattr(work, "rules", {}).items():
                if rules.setdefault(prefix, rule) != rule:
                    raise ConfigError(
                        f"works of one chain have different rules for the same leaves: {rules[prefix]} and {rule}",
                        hint="let only one of them say, or say it in the algorithm: FedAvg(..., rule=...)",
                    )
        return rules

    def carried(self, params: Tree) -> Tree:
        """What the works carry beside the model; see `hansa.training.kept.Carrying`.

        Raises:
            ConfigError: more than one carries something.
        """
        forms = [work.carried(params) for work in self.works.values() if isinstance(work, kept.Carrying)]
        carrying = [form for form in forms if form]
        if len(carrying) > 1:
            raise ConfigError(
                f"{len(carrying)} works of one chain federate their optimisers",
                hint='let all but one "keep" or "reset" it',
            )
        return carrying[0] if carrying else {}


def chain(**works: Work) -> Chained:
    """One work made of several, by name: `chain(validate=Evaluation(model), train=local, validate_local=Evaluation(model))`.

    Raises:
        ConfigError: there is none.
    """
    return Chained(works)
