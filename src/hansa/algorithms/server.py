"""The server's part of averaging: by which rule updates become one, and how their aggregate moves the global model."""

from __future__ import annotations

from typing import Any

from hansa.core import tree
from hansa.core.ask import AggregationRule
from hansa.core.tree import Tree, is_floating
from hansa.core.work import Work
from hansa.errors import ConfigError, InputError
from hansa.rules import ByPrefix, WeightedMean
from hansa.training.kept import PREFIX, Carrying
from hansa.training.optimizers import SGD, Optimizer, OptimizerState


def server_init(optimizer: Optimizer, params: Tree, buffers: frozenset[str]) -> OptimizerState:
    """The server optimiser's state before the first round."""
    return optimizer.init(_trained(params, buffers))


def server_step(
    optimizer: Optimizer, params: Tree, change: Tree, state: OptimizerState, buffers: frozenset[str]
) -> tuple[Tree, OptimizerState]:
    """One server step, with the mean change as the pseudo-gradient (Reddi et al. 2021, Algorithm 1, line 9: Δ = −gradient).

    Only trained leaves go through the optimiser; statistics and counters are what the clients' average says.

    Raises:
        TreeMismatch: `change` has other leaves than `params`.
    """
    tree.check_alike(
        change,
        params,
        where="the aggregated update",
        hint="let the work return a change of the parameters it was given, and the rule make one tree like it",
    )
    trained = _trained(params, buffers)
    if optimizer == SGD(1.0):  # plain averaging: without copies of large models
        return tree.moved(params, change), OptimizerState(state.steps + 1, state.slots)
    stepped, state = optimizer.step(trained, tree.scale({name: change[name] for name in trained}, -1), state)
    others = [name for name in params if name not in trained]
    rest = tree.moved({name: params[name] for name in others}, {name: change[name] for name in others})
    return {name: stepped[name] if name in stepped else rest[name] for name in params}, state


def carried(work: Work, params: Tree) -> Tree:
    """The form of what a work's updates carry beside a change of the model; see `hansa.training.kept.Carrying`.

    Raises:
        InputError: a leaf of the model has a name that is kept for the optimiser's.
    """
    if taken := next((name for name in params if name.startswith(PREFIX)), None):
        raise InputError(
            f"the model has a leaf {taken!r}, and names that begin with {PREFIX!r} are those of a federated optimiser",
            hint="rename that part of the model",
        )
    return work.carried(params) if isinstance(work, Carrying) else {}


def rule_of(work: Work, rule: AggregationRule[Any] | None = None, weighted: bool = True) -> AggregationRule[Any]:
    """How a work's updates become one: by `rule`, else by the work's own `rules`, else as their mean.

    A work may have `rules`, a rule for each prefix of its leaves, as `hansa.Tasks` does. What it carries beside the model is
    always averaged.

    Raises:
        ConfigError: updates are not to be weighted, and the rule is not the mean.
    """
    mean = WeightedMean(equal=not weighted)
    rules = dict(getattr(work, "rules", {})) if rule is None else {"": rule}
    if not rules:
        return mean
    if not weighted:
        raise ConfigError(
            "weighted=False is said of the mean, and there is another rule",
            hint="leave it out; for the mean of some leaves say WeightedMean(equal=True)",
        )
    named = rules[""] if rules.keys() == {""} else None
    if named is not None and (isinstance(named, WeightedMean) or not isinstance(work, Carrying)):
        return named
    return ByPrefix({"": mean, **rules, PREFIX: mean})


def _trained(params: Tree, buffers: frozenset[str]) -> Tree:
    return {name: leaf for name, leaf in params.items() if name not in buffers and is_floating(leaf)}
