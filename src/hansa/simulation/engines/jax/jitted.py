"""The jitted engine: one compiled step, called for one batch after another, its memory reused.

The best where a step is long, above all for convolutions, which XLA computes slowly inside loops on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

from hansa.simulation.engines.engine import Engine
from hansa.simulation.engines.jax.engine import Driver, JaxEngine
from hansa.simulation.engines.jax.one_by_one import compiled, one_by_one
from hansa.simulation.engines.jax.program import Carry, Program, Start, Visit, programs_of
from hansa.training import LocalTraining


def jitted(training: LocalTraining, device: str) -> Engine:
    """An `EngineKind`; raises `CannotFuse` where the training is none of JAX, or cannot be traced."""
    return JaxEngine("jitted", 1, training, [(each, _driver(each)) for each in programs_of(training, device)])


def _driver(program: Program) -> Driver:
    begun, stepped = compiled(program)

    def steps(start: Start, visit: Visit, own_shapes: Sequence[int | None]) -> Carry:
        carry: Carry = begun(start, visit)
        for size in own_shapes:
            carry = stepped(carry, start, visit, width=size)
        return carry

    return one_by_one(program, steps)
