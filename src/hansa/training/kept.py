"""What becomes of a client's optimiser between rounds: it is forgotten, kept by the client, or federated with the model.

Kept, it is the client's private state (docs/adr/0003-client-state.md). Federated, its leaves travel beside the model's, under a
prefix of their own, as values and not as changes: what a cohort's optimisers remember is averaged and replaces what was there.

This file must not know which optimiser it is, or of which framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Protocol, cast, get_args, runtime_checkable

import numpy as np

from hansa.core import tree
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import UnknownName
from hansa.models import Model, Resident
from hansa.training.optimizers import OptimizerState

Policy = Literal["reset", "keep", "federate"]
"""What becomes of an optimiser's state when a visit ends."""

PREFIX = "optimizer:"
"""What the names of an optimiser's leaves begin with, where they lie beside others; no framework names a parameter so."""

_STEPS = "steps"


@runtime_checkable
class Carrying(Protocol):
    """A work whose broadcast and update may hold more than the model: values that are averaged beside it."""

    def carried(self, params: Tree) -> Tree:
        """The form of what its updates hold beside a change of the model `params`; nothing where that is all they hold.

        The first broadcast of a run goes without them.
        """
        ...


def check_policy(policy: str) -> None:
    """Raise `UnknownName` unless it is one of `Policy`."""
    if policy not in get_args(Policy):
        raise UnknownName.among("optimizer_state", policy, get_args(Policy))


def parted(leaves: Mapping[str, tree.Array]) -> tuple[Tree, Tree]:
    """(the model's leaves, the optimiser's with their prefix) of a broadcast, an update, an aggregate or a private state."""
    optimizer = {name: leaf for name, leaf in leaves.items() if name.startswith(PREFIX)}
    return {name: leaf for name, leaf in leaves.items() if name not in optimizer}, optimizer


def remembered(policy: Policy, carried: Tree, context: ClientContext) -> Tree:
    """The optimiser's leaves, with their prefix, that a visit begins with; none where the optimiser begins anew.

    Args:
        policy: what became of them after the last visit.
        carried: those of the broadcast.
        context: of the visit.
    """
    match policy:
        case "reset":
            return {}
        case "keep":
            return parted(context.state)[1]
        case "federate":
            return carried


def prefixed(leaves: Tree) -> Tree:
    """An optimiser's leaves with the prefix."""
    return {PREFIX + name: leaf for name, leaf in leaves.items()}


def bare(leaves: Tree) -> Tree:
    """An optimiser's leaves without the prefix."""
    return {name.removeprefix(PREFIX): leaf for name, leaf in leaves.items()}


def passed_on(policy: Policy, update: Update, optimizer: Tree) -> Update:
    """The update of a visit that ends with these leaves of the optimiser: they stay with the client, or travel."""
    match policy:
        case "reset":
            return update
        case "keep":
            return replace(update, state=optimizer)
        case "federate":
            return replace(update, tree={**update.tree, **optimizer})


def packed(state: OptimizerState, model: Model) -> Tree:
    """An optimiser's state as leaves with the prefix: "optimizer:steps", and "optimizer:m/conv1.weight" of the slot "m"."""
    slots = tree.join({slot: model.dump(cast("Resident", leaves)) for slot, leaves in state.slots.items()})
    return prefixed({_STEPS: np.array(state.steps, np.int64), **slots})


def unpacked(leaves: Tree, model: Model, device: str) -> OptimizerState:
    """The state that `packed` took apart, on the framework's device."""
    named = bare(leaves)
    steps = int(named.pop(_STEPS))
    return OptimizerState(steps, {slot: model.load(part, device) for slot, part in tree.parts(named).items()})
