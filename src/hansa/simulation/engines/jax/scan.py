"""The scan engine: all steps of a client in one call, a loop that XLA runs over examples on the device.

How often it runs is an argument, so that clients of other sizes need no other program. Batches that cannot be filled up to the
full size are trained on between two runs of the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hansa.errors import MissingExtra
from hansa.simulation.engines.engine import Engine
from hansa.simulation.engines.jax.engine import Driver, JaxEngine
from hansa.simulation.engines.jax.one_by_one import compiled, one_by_one
from hansa.simulation.engines.jax.program import Carry, Program, Start, Visit, programs_of
from hansa.training import LocalTraining

try:
    import jax
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "its engines") from missing

CHUNK = 8
"""How many clients may be under way before one is waited for."""


def scan(training: LocalTraining, device: str) -> Engine:
    """An `EngineKind`; raises `CannotFuse` where the training is none of JAX, or cannot be traced."""
    return JaxEngine("scan", CHUNK, training, [(each, _driver(each)) for each in programs_of(training, device)])


def _driver(program: Program) -> Driver:
    def whole(start: Start, visit: Visit) -> Carry:
        return program.looped(program.begun(start, visit), start, visit, visit.count)

    all_steps, (begun, stepped) = jax.jit(whole), compiled(program)
    looped = jax.jit(program.looped, donate_argnums=0)

    def steps(start: Start, visit: Visit, own_shapes: Sequence[int | None]) -> Carry:
        if not any(own_shapes):
            return all_steps(start, visit)  # type: ignore[no-any-return]  # JAX types it as any
        carry: Carry = begun(start, visit)
        for number, size in enumerate(own_shapes):
            if size is not None:
                carry = stepped(looped(carry, start, visit, np.int32(number)), start, visit, width=size)
        return looped(carry, start, visit, np.int32(len(own_shapes)))  # type: ignore[no-any-return]

    return one_by_one(program, steps)
