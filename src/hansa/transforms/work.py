"""Transformed: a work whose update is encoded before it leaves the client. This file must not know of servers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hansa.core import tree
from hansa.core.gate import as_update
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, Work
from hansa.transforms.transform import Transform

PREFIX = "feedback:"
"""The names of what was not sent yet begin with it, where it lies beside a work's own private state."""


@dataclass(frozen=True)
class Transformed:
    """A work, and what encodes its updates.

    With feedback, what encoding lost of an update is added to the client's next one (S. P. Karimireddy, Q. Rebjock,
    S. U. Stich, M. Jaggi, Error Feedback Fixes SignSGD and other Gradient Compression Schemes, ICML 2019, algorithm 1). It is
    part of the client's private state: it never travels, and stays what it was where an update did not count.

    Attributes:
        work: the work.
        transform: encodes its updates; its randomness is the visit's key's child "transform".
        feedback: keep what was lost.
    """

    work: Work
    transform: Transform
    feedback: bool = False

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work, its update encoded."""
        return self.encoded(as_update(self.work(broadcast, self.context(context))), context)

    def context(self, context: ClientContext) -> ClientContext:
        """What the work sees of a visit: of the private state its own part."""
        if not self.feedback or not context.state:
            return context
        return replace(context, state=_parted(context.state)[0])

    def encoded(self, update: Update, context: ClientContext) -> Update:
        """What leaves a visit in which the work gave this update."""
        key = context.key.child("transform")
        if not self.feedback:
            return replace(update, tree=self.transform.encode(update.tree, key))
        own, lost = _parted(context.state)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # what is not finite is refused, and this state then forgotten
            whole = {name: _plus(leaf, lost.get(name)) for name, leaf in update.tree.items()}
            sent = self.transform.encode(whole, key)
            arrives = self.transform.decode(sent, whole)
            missing = {name: leaf - arrives[name] for name, leaf in whole.items() if tree.is_floating(leaf)}
        kept = {PREFIX + name: np.asarray(leaf, whole[name].dtype) for name, leaf in missing.items()}
        return replace(update, tree=sent, state={**(own if update.state is None else update.state), **kept})


def _plus(leaf: tree.Array, lost: tree.Array | None) -> tree.Array:
    return leaf if lost is None else np.asarray(leaf + lost, leaf.dtype)


def _parted(state: Tree) -> tuple[Tree, Tree]:
    """(the work's own private state, what was not sent by the names of the leaves)."""
    lost = {name: leaf for name, leaf in state.items() if name.startswith(PREFIX)}
    own = {name: leaf for name, leaf in state.items() if name not in lost}
    return own, {name.removeprefix(PREFIX): leaf for name, leaf in lost.items()}
