"""What the engines of JAX share: clients in, updates out, held against the definition before they are believed.

How the steps are driven is a `Driver`'s, one a file. This file must not know how many clients one trains at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ml_dtypes import finfo

from hansa.core import tree
from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import DataError, MissingExtra
from hansa.simulation.engines.engine import CannotFuse, Trainer
from hansa.simulation.engines.jax.examples import Course, course_of
from hansa.simulation.engines.jax.program import Carry, Program, Start
from hansa.training import LocalTraining, OptimizerState, kept

try:
    import jax
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "its engines") from missing

Driver = Callable[[Start, Sequence[Course]], Iterable[tuple[Sequence[int], Carry]]]
"""Trains clients: gives the place in the sequence of one client, or of several at once, and where their training ends, stacked
if there are several. JAX may still be computing it."""


@dataclass
class JaxEngine:
    """An engine over one or more drivers: the next one takes over where one's updates are not the definition's.

    Attributes:
        name: what pins it.
        chunk: how many clients it takes at once.
        training: the definition.
        drivers: the program of each, and how it is driven; the preferred one first.
        exact: never, as XLA fuses multiplications and additions otherwise than the definition does.
    """

    name: str
    chunk: int
    training: LocalTraining
    drivers: list[tuple[Program, Driver]]
    exact: bool = False
    _believed: set[bool] = field(default_factory=set)

    def trainer(self, broadcast: Tree) -> Trainer:
        """Clients in, updates out; `CannotFuse` where no driver's updates are the definition's."""
        params, carried = kept.parted(broadcast)
        start = self.drivers[0][0].start(params)

        def train(contexts: Sequence[ClientContext]) -> list[Update]:
            courses = [course_of(self.training, self.drivers[0][0].model, carried, context) for context in contexts]
            while True:
                updates = self._updates(params, courses, self.drivers[0][1](start, courses))
                why = self._doubt(broadcast, courses, updates)
                if not why:
                    return updates
                if len(self.drivers) == 1:
                    raise CannotFuse(why)
                self.drivers, self._believed = self.drivers[1:], set()

        return train

    def _updates(
        self, params: Tree, courses: Sequence[Course], ended: Iterable[tuple[Sequence[int], Carry]]
    ) -> list[Update]:
        updates: dict[int, Update] = {}
        facts = [name for name, leaf in params.items() if not tree.is_floating(leaf)]
        for places, carries in _one_ahead(ended):
            for place, carry in zip(places, _lanes(carries), strict=False):
                updates[place] = self._update(courses[place], carry, params, facts)
        return [updates[place] for place in range(len(courses))]

    def _update(self, course: Course, carry: Carry, params: Tree, facts: Sequence[str]) -> Update:
        """What the definition's `finish` gives; `facts` are the leaves that replace what was there."""
        examples, loss = sum(course.sizes), float(carry.loss)
        if not math.isfinite(loss):
            raise DataError(f"the loss is {loss}", where=f"client {course.context.id!r}")
        ended = {**params, **carry.trained, **carry.state}
        change = {name: np.array(leaf) if name in facts else leaf - params[name] for name, leaf in ended.items()}
        metrics = Metrics({"loss": Mean.of(loss / examples, examples)})
        update = Update(change, float(len(course.context.data["train"])), metrics)
        if self.training.optimizer_state == "reset":
            return update
        state = OptimizerState(int(carry.steps), carry.slots)
        return kept.passed_on(self.training.optimizer_state, update, kept.packed(state, self.training.model))

    def _doubt(self, broadcast: Tree, courses: Sequence[Course], updates: Sequence[Update]) -> str:
        """Why the updates are not believed: looked at once for clients with a smaller batch and once for those without."""
        kinds = [min(course.sizes) < self.training.batch_size for course in courses]
        for kind in set(kinds) - self._believed:
            alike = [number for number, each in enumerate(kinds) if each == kind]
            shortest = min(alike, key=lambda number: len(courses[number].orders))
            expected = self.training(broadcast, courses[shortest].context)
            if not (apart := distance(updates[shortest], expected)) <= tolerance(broadcast):
                return f"its updates differ from the definition's by {apart:.2g} of their length"
            self._believed.add(kind)
        return ""


def _lanes(carries: Carry) -> list[Carry]:
    """Each client's, in NumPy's arrays that are views."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, carries))
    if not np.ndim(carries.done):
        return [jax.tree.unflatten(structure, leaves)]
    return [jax.tree.unflatten(structure, [leaf[lane] for leaf in leaves]) for lane in range(len(carries.done))]


def _one_ahead(dispatched: Iterable[Any]) -> Iterator[Any]:
    """Each item once the next one was asked for."""
    waiting = deque[Any]()
    for item in dispatched:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def distance(found: Update, expected: Update) -> float:
    """How far an update is from the definition's, as a share of its length; infinite where what is no float differs."""
    losses = found.metrics["loss"].value, expected.metrics["loss"].value
    loss = abs(losses[0] - losses[1]) / max(abs(losses[1]), 1e-6)
    return max(loss, _apart(found.tree, expected.tree), _apart(found.state or {}, expected.state or {}))


def _apart(found: Tree, expected: Tree) -> float:
    facts = [name for name, leaf in expected.items() if not tree.is_floating(leaf)]
    if found.keys() != expected.keys() or any(not np.array_equal(found[name], expected[name]) for name in facts):
        return math.inf
    gap, length = (
        tree.norm({name: found[name] - leaf for name, leaf in expected.items() if name not in facts}),
        tree.norm(expected),
    )
    return gap / length if length else math.inf if gap else 0.0


def tolerance(broadcast: Tree) -> float:
    """The largest distance that is put down to rounding."""
    floating = [leaf.dtype for leaf in broadcast.values() if tree.is_floating(leaf)]
    precision = max((float(finfo(dtype).eps) for dtype in floating), default=0.0)  # type: ignore[no-untyped-call]
    return max(1e-3, 8 * precision)
