"""Local training as functions of arrays that JAX compiles: one step, and what comes before the first.

The step is the definition's: the model's gradient, the gradient transform and the optimiser, traced. Numbers that change from
step to step or from round to round are arguments, so nothing is compiled anew for them. This file must not know how many
clients are trained at once, or what drives the steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hansa.core.tree import Tree
from hansa.errors import MissingExtra
from hansa.models import Resident
from hansa.simulation.engines.engine import CannotFuse
from hansa.training import LocalTraining, OptimizerState

try:
    import jax
    from jax import numpy as jnp
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "its engines") from missing

from hansa.models.jax import JaxModel, device_named


class Start(NamedTuple):
    """What all clients of an ask begin with: the leaves that are trained, those that forward passes change, and the others."""

    trained: Resident
    state: Resident
    fixed: Resident


class Visit(NamedTuple):
    """One client's part in an ask, as arrays; stacked where several are trained at once.

    Attributes:
        columns: the examples, by field of the model, the target last.
        rows: which of them each batch holds, int32 of shape (batches, batch size); smaller batches are filled up.
        sizes: how many examples each batch has.
        keys: the random numbers' key of each batch, uint32 of shape (batches, 2); None where the model draws none.
        count: how many batches there are; the arrays may have room for more.
        factor: of the learning rate.
        optimizer: (slots, steps) of the optimiser that goes on; None where it begins anew.
    """

    columns: tuple[Any, ...]
    rows: Any
    sizes: Any
    keys: Any
    count: Any
    factor: Any
    optimizer: tuple[dict[str, Resident], Any] | None


class Carry(NamedTuple):
    """Where a client's training stands; see `hansa.training.LocalState`. `done` counts its batches, `steps` the optimiser's."""

    trained: Resident
    state: Resident
    slots: dict[str, Resident]
    steps: Any
    done: Any
    loss: Any


@dataclass(frozen=True)
class Program:
    """The functions of one training.

    Attributes:
        training: the definition.
        model: its model, as two functions.
        device: where it is computed, in JAX's words.
        masked: smaller batches are filled up to the full size, and what fills them does not count in the loss.
    """

    training: LocalTraining
    model: JaxModel
    device: str
    masked: bool

    def start(self, params: Tree) -> Start:
        """The broadcast parameters on the device."""
        leaves = self.model.load(params, self.device)
        state = {name: leaf for name, leaf in leaves.items() if name in self.model.state}
        trained = {name: leaf for name, leaf in leaves.items() if name not in self.model.buffers}
        return Start(trained, state, {name: leaf for name, leaf in leaves.items() if name not in trained | state})

    def begun(self, start: Start, visit: Visit) -> Carry:
        """Before the first step: copies, which the steps may overwrite."""
        trained, state = jax.tree.map(jnp.copy, (start.trained, start.state))
        if visit.optimizer is None:
            begun = self.training.optimizer.init(trained)
            optimizer = dict(begun.slots), begun.steps
        else:
            optimizer = visit.optimizer
        slots, steps = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), optimizer)
        return Carry(trained, state, slots, steps, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.result_type(float)))

    def stepped(self, carry: Carry, start: Start, visit: Visit, width: int | None = None) -> Carry:
        """After one batch more; `width` is how many examples it has, where it is a smaller one and not masked."""
        rows = visit.rows[carry.done][:width]
        size = visit.sizes[carry.done] if self.masked else None
        *inputs, target = (column.at[rows].get(mode="promise_in_bounds") for column in visit.columns)
        rng = None if visit.keys is None else visit.keys[carry.done]
        params = {**carry.trained, **carry.state, **start.fixed}
        loss, gradient, state = self.model.differentiated(params, tuple(inputs), target, rng, size)
        trained, optimizer = self._moved(carry, gradient, start.trained, visit.factor)
        return Carry(
            _like(trained, carry.trained),
            _like(state, carry.state),
            _like(dict(optimizer.slots), carry.slots),
            _like(optimizer.steps, carry.steps),
            carry.done + 1,
            carry.loss + _like(loss * (len(rows) if size is None else size), carry.loss),
        )

    def looped(self, carry: Carry, start: Start, visit: Visit, end: Any) -> Carry:
        """After all batches before number `end`, in a loop that is compiled."""
        self.refuse_convolutions(carry, start, visit)
        return jax.lax.while_loop(
            lambda carry: carry.done < end, lambda carry: self.stepped(carry, start, visit), carry
        )

    def refuse_convolutions(self, carry: Carry, start: Start, visit: Visit) -> None:
        """Raise `CannotFuse` where a loop would hold a convolution on a CPU: XLA computes those 20 times slower."""
        on_cpu = device_named(self.device).platform == "cpu"
        if on_cpu and "conv_general_dilated" in _operations(jax.make_jaxpr(self.stepped)(carry, start, visit).jaxpr):
            raise CannotFuse("XLA computes convolutions slowly inside loops on a CPU", hint='use the engine "jitted"')

    def _moved(self, carry: Carry, gradient: Resident, start: Resident, factor: Any) -> tuple[Tree, OptimizerState]:
        gradient = self.training.gradient(gradient, carry.trained, start)
        before = OptimizerState(carry.steps, carry.slots)
        return self.training.optimizer.step(carry.trained, gradient, before, factor)

    def check(self) -> None:
        """Raise `CannotFuse` where the optimiser or the gradient transform is not made of operators that JAX traces."""

        def one(trained: Resident, factor: Any) -> Tree:
            optimizer = self.training.optimizer.init(trained)
            carry = Carry(trained, {}, dict(optimizer.slots), jnp.asarray(optimizer.steps), 0, 0)
            return self._moved(carry, trained, trained, factor)[0]

        forms = {name: leaf for name, leaf in self.model.form.items() if name not in self.model.buffers}
        try:
            jax.eval_shape(one, forms, 1.0)
        except Exception as problem:
            raise CannotFuse(
                f"JAX cannot trace the optimiser or the gradient transform: {_first_line(problem)}",
                hint="write them with plain operators, without branches on values",
            ) from problem


def programs_of(training: LocalTraining, device: str) -> tuple[Program, ...]:
    """The programs of a training, the preferred one first.

    Smaller batches are masked where a model keeps no statistics of its batches, as one shape is compiled sooner than many.

    Raises:
        CannotFuse: its model is no model of JAX, or the optimiser cannot be traced.
    """
    model = getattr(training.model, "functions", None)
    if not isinstance(model, JaxModel):
        raise CannotFuse(f"{type(training.model).__name__} is no model of JAX")
    plain = Program(training, model, device, masked=False)
    plain.check()
    return (plain,) if training.drop_remainder or model.state else (replace(plain, masked=True), plain)


def _like(found: Any, carried: Any) -> Any:
    """The leaves in the dtypes that are carried: a number known only later may have widened them."""
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf).astype(like.dtype), found, carried)


def _operations(jaxpr: Any) -> set[str]:
    """The names of all operations, those inside others too."""
    return {name for equation in jaxpr.eqns for name in (equation.primitive.name, *_inside(equation.params.values()))}


def _inside(params: Any) -> Iterator[str]:
    for param in params:
        for each in param if isinstance(param, list | tuple) else (param,):
            if (inner := getattr(each, "jaxpr", each)) is not each or hasattr(each, "eqns"):
                yield from _operations(inner)


def _first_line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {str(problem).partition(chr(10))[0]}"
