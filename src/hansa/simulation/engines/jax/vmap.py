"""The vmap engine: several clients at once, each in a lane of one loop that XLA runs.

Clients are sorted by their number of batches, so that those of one loop end at about the same time; a lane that has ended
changes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hansa.errors import MissingExtra
from hansa.simulation.engines.engine import CannotFuse, Engine, EngineKind
from hansa.simulation.engines.jax.engine import Driver, JaxEngine
from hansa.simulation.engines.jax.examples import Course, Examples
from hansa.simulation.engines.jax.program import Carry, Program, Start, Visit, programs_of
from hansa.training import LocalTraining

try:
    import jax
    from jax import numpy as jnp
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "its engines") from missing

CHUNK = 64
"""How many clients are sorted at most."""

CHUNK_BYTES = 64 << 20
"""How much their trained parameters may hold together, unless that is less than the lanes do."""


def vmap(lanes: int) -> EngineKind:
    """The kind of so many lanes."""

    def kind(training: LocalTraining, device: str) -> Engine:
        program = programs_of(training, device)[0]
        if not (program.masked or training.drop_remainder):
            raise CannotFuse(
                "the model keeps statistics of its batches, so that smaller ones cannot be filled up",
                hint="leave them out with drop_remainder=True",
            )
        size = sum(leaf.nbytes for leaf in program.model.form.values())
        groups = min(CHUNK, CHUNK_BYTES // max(size, 1)) // lanes
        return JaxEngine(f"vmap-{lanes}", lanes * max(groups, 1), training, [(program, _driver(program, lanes))])

    return kind


def _driver(program: Program, lanes: int) -> Driver:
    examples = Examples(program.training, program.model, program.device)
    compiled = {shared: jax.jit(_together(program, shared=shared)) for shared in (False, True)}

    def drive(start: Start, courses: Sequence[Course]) -> Iterator[tuple[list[int], Carry]]:
        longest_first = sorted(range(len(courses)), key=lambda place: -len(courses[place].orders))
        for begin in range(0, len(courses), lanes):
            places = longest_first[begin : begin + lanes]
            visits, shared = examples.visits(start, [courses[place] for place in places], lanes)
            yield places, compiled[shared](start, visits)

    return drive


def _together(program: Program, *, shared: bool) -> Callable[[Start, Visit], Carry]:
    """All lanes from start to end; `shared` says that the columns have no axis for them."""
    lanes = Visit(None if shared else 0, 0, 0, 0, 0, 0, 0)  # type: ignore[arg-type]  # axes in place of arrays

    def stepped(carry: Carry, start: Start, visit: Visit) -> Carry:
        program.refuse_convolutions(carry, start, visit)
        after = program.stepped(carry, start, visit)
        kept: Carry = jax.tree.map(lambda new, old: jnp.where(carry.done < visit.count, new, old), after, carry)
        return kept

    def together(start: Start, visits: Visit) -> Carry:
        carries = jax.vmap(program.begun, in_axes=(None, lanes))(start, visits)
        step: Any = jax.vmap(stepped, in_axes=(0, None, lanes))
        return jax.lax.while_loop(
            lambda carries: jnp.any(carries.done < visits.count), lambda carries: step(carries, start, visits), carries
        )

    return together
