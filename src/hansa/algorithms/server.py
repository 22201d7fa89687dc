"""The server's step: how an aggregate of updates moves the global model."""

from __future__ import annotations

from hansa.core import tree
from hansa.core.tree import Tree, is_floating
from hansa.training.optimizers import Optimizer, OptimizerState


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
        hint="let the work return a change of the parameters it was given",
    )
    trained = _trained(params, buffers)
    stepped, state = optimizer.step(trained, tree.scale({name: change[name] for name in trained}, -1), state)
    return {**tree.moved(params, change), **stepped}, state


def _trained(params: Tree, buffers: frozenset[str]) -> Tree:
    return {name: leaf for name, leaf in params.items() if name not in buffers and is_floating(leaf)}
