"""A client's part: what a work is given, and what it gives back.

This file must not know what the work computes, or with which framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hansa.core.keys import Key, key
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId
from hansa.core.tree import Tree

Scalar = bool | int | float | str | bytes
Settings = Mapping[str, Scalar]
"""What an ask carries that is no array."""


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """A JSON object; settings that are bytes are written in hexadecimal."""
    return {name: {"bytes": value.hex()} if isinstance(value, bytes) else value for name, value in settings.items()}


def settings_from_json(data: Mapping[str, Any]) -> dict[str, Scalar]:
    """The settings that `settings_to_json` described."""
    return {name: bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value for name, value in data.items()}


def nobody_looks(done: int, of: int) -> None:
    """Where nobody wants to know how far a work is."""


@dataclass(frozen=True)
class ClientContext:
    """All that a work may see besides the broadcast.

    Arrays that it is lent, the broadcast's among them, are read-only.

    Attributes:
        id: the client's id.
        data: the client's examples by split: `hansa.data.ClientDataset` under "train", "test", or both.
        round: the round that the ask belongs to; the first is 1, and an evaluation before it has 0.
        key: the client's randomness for this visit; never the same twice in a run.
        settings: what the ask says to everyone, overlaid by what it says to this client.
        inputs: arrays that the ask addresses to this client alone.
        state: the client's private state, which never travels; empty on the first visit.
        device: where to compute, in the framework's own words.
        progress: is told how many steps of the work are done, and of how many, 0 where that is not known. It costs next to
            nothing, and changes nothing: a work that tells nothing is as good.
    """

    id: ClientId
    data: Mapping[str, Any]
    round: int = 0
    key: Key = field(default_factory=lambda: key(0))
    settings: Settings = field(default_factory=dict)
    inputs: Tree = field(default_factory=dict)
    state: Tree = field(default_factory=dict)
    device: str = "cpu"
    progress: Callable[[int, int], None] = field(default=nobody_looks, compare=False, repr=False)


def visit_key(seed: int, client: ClientId, round_: int, work: str, occurrence: int) -> Key:
    """The randomness of one visit: the same in every executor, simulated or deployed.

    Args:
        seed: the run's.
        client: who is asked.
        round_: the round that the ask belongs to.
        work: what is asked.
        occurrence: how often the client was asked for the same work in the same round before.
    """
    return Key(seed, ("client", client, round_, work, occurrence))


@dataclass(frozen=True)
class Update:
    """What a client gives back.

    Attributes:
        tree: its arrays, NumPy's; for training, what moves the broadcast parameters to the client's own
            (`hansa.core.tree.difference`).
        weight: how much it counts in an average, usually the number of examples; at least 0.
        metrics: what it measured.
        state: its next private state, or None to keep the present one. Stays with the client: whoever sends an update on
            leaves it out.
        client: who it comes from; filled in by the executor.
        staleness: how many model updates were made since the broadcast that it started from; filled in by the executor.
    """

    tree: Tree
    weight: float = 1.0
    metrics: Metrics = field(default_factory=Metrics)
    state: Tree | None = None
    client: ClientId = ""
    staleness: int = 0


class Work(Protocol):
    """A pure function that an algorithm may ask of a client: equal arguments give an equal update."""

    def __call__(self, broadcast: Tree, context: ClientContext, /) -> Update:
        """Do it."""
        ...


class TrainingWork(Work, Protocol):
    """A work whose update is a `hansa.core.tree.difference` of a model's leaves."""

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves that no optimiser touches, at the client or at the server: statistics, counters, frozen parameters."""
        ...
