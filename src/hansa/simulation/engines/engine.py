"""The Engine port: how the local training of many clients is computed.

`LocalTraining.__call__` is the definition. An exact engine gives its bits; another one gives its numbers within rounding, and
is used in fast mode only. This file must not know of any framework.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError
from hansa.training import LocalTraining

Trainer = Callable[[Sequence[ClientContext]], list[Update]]
"""The clients of one ask, at most the engine's `chunk` at once, in; their updates, in the same order, out. What it raises is
nobody's outcome: those clients are trained again by the definition, and its errors are theirs."""


class Engine(Protocol):
    """One way to compute a LocalTraining, made for it by an `EngineKind`; may keep what it compiled from ask to ask."""

    @property
    def name(self) -> str:
        """What pins it: "traced", "vmap-4"."""
        ...

    @property
    def exact(self) -> bool:
        """Whether it gives the definition's bits."""
        ...

    @property
    def chunk(self) -> int:
        """How many clients it takes at once, at most."""
        ...

    def trainer(self, broadcast: Tree) -> Trainer:
        """What trains clients from one broadcast; the parameters are loaded here, once an ask."""
        ...


EngineKind = Callable[[LocalTraining, str], Engine]
"""(training, device) -> the engine. Raises `CannotFuse` where it is of no use for this training."""


class CannotFuse(ConfigError):
    """An engine cannot compute this training; `what` says why. Another one takes its place."""
