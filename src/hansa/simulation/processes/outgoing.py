"""What is sent to workers in the course of one ask: the ask itself once, and chunks of visits.

This file must not know who computes which chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hansa.core.ask import AggregationRule, Ask
from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.errors import ConfigError
from hansa.simulation.processes.failures import told
from hansa.simulation.processes.handing import Errand
from hansa.simulation.processes.letters import Letter, Sealed
from hansa.simulation.processes.port import Crew
from hansa.simulation.visits import Visits

MOST = 8 << 20
"""Bytes of clients' own examples after which a chunk is full."""


HEAVY = 32 << 20
"""Bytes of a broadcast from which memory matters more than time: whatever can be given back at once is."""


def is_heavy(broadcast: Tree) -> bool:
    """Whether a broadcast is so large that not many of its size should be there at once."""
    return sum(leaf.nbytes for leaf in broadcast.values()) > HEAVY


class Outgoing:
    """See the top of this file; to be closed.

    Args:
        crew: who is asked.
        ask: the ask.
        rule: sums the updates where they are computed; None if they come back one by one.
        visits: the book.
        seed: of the clients' randomness.
        lends: whether clients' examples are sent along.

    Attributes:
        opening: the letter with the ask.
    """

    def __init__(
        self, crew: Crew, ask: Ask, rule: AggregationRule[Any] | None, visits: Visits, seed: int, *, lends: bool
    ) -> None:
        self._crew, self._ask, self._visits, self.lends = crew, ask, visits, lends
        head: dict[str, Any] = {
            "work": ask.work,
            "round": ask.round,
            "version": ask.version,
            "seed": seed,
            "device": crew.manning.device,
            "summed": rule is not None,
            "heavy": is_heavy(ask.broadcast),
            "form": "broadcast" if ask.form is ask.broadcast else "own",
        }
        trees = [ask.broadcast]
        if rule is not None and ask.form is not None and ask.form is not ask.broadcast:
            trees.append(
                {name: np.broadcast_to(np.empty((), leaf.dtype), leaf.shape) for name, leaf in ask.form.items()}
            )
        value = {"settings": dict(ask.settings), "rule": rule}
        self.opening: Sealed = crew.sealed(Letter("ask", head, value, trees))
        self._context = visits.contexts(ask)

    def close(self) -> None:
        """Give its memory up."""
        self.opening.close()

    def chunk(self, number: int, errands: Sequence[Errand], known: set[int]) -> tuple[list[Sealed], int]:
        """The letters of a chunk, to be closed once they are sent, and how many of the errands they hold.

        Args:
            number: of the chunk.
            errands: its visits, or more than it may hold.
            known: what the worker was lent; it is told what of it is gone, and sent what it lacks.
        """
        lending = self._crew.lending
        lending.tidy()
        entries: list[Any] = []
        trees: list[Tree] = []
        values: dict[str, Any] = {}
        own, alive = 0, list[object]()
        for errand in errands:
            if own > MOST:
                break
            before = len(trees)
            entries.append(self._entry(errand, trees, values, str(len(entries)), alive))
            own += sum(leaf.nbytes for tree in trees[before:] for leaf in tree.values())
        needed = {key for *_, lent in entries if isinstance(lent, dict) for key in _keys(lent)}
        gone = known - lending.things.keys()
        lacking = [lending.things[key] for key in sorted(needed - known)]
        known -= gone
        known |= needed
        head = {"chunk": number, "visits": entries, "gone": list(gone)}
        return [*lacking, self._crew.sealed(Letter("visits", head, values or None, trees))], len(entries)

    def _entry(
        self, errand: Errand, trees: list[Tree], values: dict[str, Any], name: str, alive: list[object]
    ) -> list[Any]:
        """[client, occurrence, examples that it announced, its splits, or why there are none, or None]."""
        visit = errand.visit
        context = self._context(visit)
        more: dict[str, Any] = {}
        if context.settings is not self._ask.settings:
            more["settings"] = dict(context.settings)
        if context.inputs:
            more["inputs"] = context.inputs
        if context.state:
            more["state"] = context.state
        if more:
            values[name] = more
        lent = self._lent(visit.client, trees, alive) if self.lends else None
        return [visit.client, visit.occurrence, self._visits.held(visit.client), lent]

    def _lent(self, client: ClientId, trees: list[Tree], alive: list[object]) -> Any:
        try:
            splits, expected = self._visits.stored(client)
            alive.append(splits)
        except Exception as problem:  # noqa: BLE001 - the client's own data; it is its outcome, if its work looks at them
            return told(problem)
        try:
            return self._crew.lending.shard(splits, expected, trees)
        except ConfigError as problem:
            problem.where = problem.where or "the clients' data"
            raise


def _keys(shard: Mapping[str, Any]) -> Iterator[int]:
    """Of all that a shard's description refers to."""
    yield shard["expected"]
    for described in shard["splits"].values():
        yield from (described[thing] for thing in ("base", "through") if thing in described)
