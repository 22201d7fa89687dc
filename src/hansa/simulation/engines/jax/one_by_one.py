"""One client after the other: what the engines share that do not train several at once.

This file must not know how a client's steps are driven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hansa.errors import MissingExtra
from hansa.simulation.engines.jax.engine import Driver
from hansa.simulation.engines.jax.examples import Course, Examples
from hansa.simulation.engines.jax.program import Carry, Program, Start, Visit

try:
    import jax
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "its engines") from missing

from hansa.models.jax import device_named

Steps = Callable[[Start, Visit, Sequence[int | None]], Carry]
"""All steps of a visit. Says of each batch whether it has a shape of its own: its size, or None for the full one."""


def one_by_one(program: Program, steps: Steps) -> Driver:
    """A driver of a program. No client is waited for before the next one's examples are gathered."""
    examples, device = Examples(program.training, program.model, program.device), device_named(program.device)

    def trained(start: Start, course: Course) -> Carry:
        visits, shared = examples.visits(start, [course], 1)
        columns = visits.columns if shared else tuple(column[0] for column in visits.columns)
        visit: Visit = jax.tree.map(lambda leaf: leaf[0], visits._replace(columns=()))._replace(columns=columns)
        if device.platform != "cpu":  # there, NumPy's memory is used as it is
            visit = jax.device_put(visit, device)
        return steps(start, visit, _own_shapes(program, course))

    def drive(start: Start, courses: Sequence[Course]) -> Iterator[tuple[list[int], Carry]]:
        for place, course in enumerate(courses):
            yield [place], trained(start, course)

    return drive


def _own_shapes(program: Program, course: Course) -> list[int | None]:
    full = program.training.batch_size
    return [None if program.masked or size == full else size for size in course.sizes]


def compiled(program: Program) -> tuple[Any, Any]:
    """(what comes before the first step, a step that overwrites what it is given to carry)."""
    return jax.jit(program.begun), jax.jit(program.stepped, donate_argnums=0, static_argnames="width")
