"""Optimisers over a module's own parameters: PyTorch's fused kernels where they compute the same, the definition's elsewhere.

This file must not know of models or clients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from hansa.core.tree import Tree
from hansa.errors import MissingExtra
from hansa.simulation.engines.torch.start import Form
from hansa.training import LocalTraining
from hansa.training.gradients import Chain
from hansa.training.optimizers import SGD, Adam, OptimizerState

try:
    import torch
    from torch import Tensor
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

Mover = Callable[[Sequence[Tensor], Sequence[Tensor], int, float], int]
"""(gradients, what the parameters were at the start, the optimiser's count of steps, the learning rate's factor) -> the count
after a step that wrote over parameters and slots."""


def mover(training: LocalTraining, form: Form, params: Sequence[Tensor], slots: Sequence[Tensor]) -> Mover:
    """What moves these parameters.

    Args:
        training: whose optimiser and gradient transform it is.
        form: the names of parameters and slots.
        params: those that are trained, in the form's order.
        slots: the optimiser's leaves, likewise; as PyTorch's kernels want them, in the layout of their parameters.
    """
    optimizer = training.optimizer
    plain = isinstance(training.gradient, Chain) and not training.gradient.transforms
    same = {param.dtype for param in params} in ({torch.float32}, {torch.float64})
    match optimizer:
        case SGD() if plain and type(optimizer) is SGD and (same or not optimizer.momentum):
            return _sgd(optimizer, params, slots)
        case Adam(debias=True, initial=0.0) if plain and type(optimizer) is Adam and same:
            return _adam(optimizer, params, slots)
    return _definition(training, form, params, slots)


def _sgd(optimizer: SGD, params: Sequence[Tensor], momenta: Sequence[Tensor]) -> Mover:
    own, buffers = list(params), list(momenta)

    def move(gradient: Sequence[Tensor], begun: Sequence[Tensor], steps: int, factor: float) -> int:  # noqa: ARG001
        rate, gradients = optimizer.learning_rate * factor, list(gradient)
        if not buffers:
            if optimizer.weight_decay:
                torch._foreach_add_(gradients, own, alpha=optimizer.weight_decay)
            torch._foreach_add_(own, gradients, alpha=-rate)
            return steps + 1
        torch._fused_sgd_(
            own,
            _laid(gradients, own),
            buffers,
            weight_decay=optimizer.weight_decay,
            momentum=optimizer.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=optimizer.nesterov,
            maximize=False,
            is_first_step=False,
        )
        return steps + 1

    return move


def _adam(optimizer: Adam, params: Sequence[Tensor], moments: Sequence[Tensor]) -> Mover:
    own, count = list(params), torch.zeros((), device=params[0].device)
    first, second, counts = list(moments[: len(own)]), list(moments[len(own) :]), [count] * len(own)

    def move(gradient: Sequence[Tensor], begun: Sequence[Tensor], steps: int, factor: float) -> int:  # noqa: ARG001
        count.fill_(steps + 1)
        torch._fused_adamw_(
            own,
            _laid(gradient, own),
            first,
            second,
            [],
            counts,
            lr=optimizer.learning_rate * factor,
            beta1=optimizer.beta1,
            beta2=optimizer.beta2,
            weight_decay=optimizer.weight_decay,
            eps=optimizer.epsilon,
            amsgrad=False,
            maximize=False,
        )
        return steps + 1

    return move


def _laid(gradient: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
    """The gradients in their parameters' layout in memory, which the fused kernels take for granted."""
    pairs = zip(gradient, params, strict=True)
    return [g if g.stride() == p.stride() else torch.empty_like(p).copy_(g) for g, p in pairs]


def _definition(training: LocalTraining, form: Form, params: Sequence[Tensor], slots: Sequence[Tensor]) -> Mover:
    names = form.trained
    own, remembered = dict(zip(names, params, strict=True)), form.slots_of([*form.leaves, *slots])

    memory = {_storage(each) for each in (*params, *slots)}

    def move(gradient: Sequence[Tensor], begun: Sequence[Tensor], steps: int, factor: float) -> int:
        named: Any = dict(zip(names, gradient, strict=True))
        start: Any = dict(zip(names, begun, strict=True))
        changed = training.gradient(named, cast("Tree", own), start)
        state = OptimizerState(steps, remembered)
        moved, after = training.optimizer.step(cast("Tree", own), changed, state, factor)
        values: list[Any] = [*(moved[name] for name in names), *(after.slots[slot][name] for slot, name in form.slots)]
        # An optimiser may remember what it was given, which is written over here: take that first.
        values = [value.clone() if _storage(value) in memory else value for value in values]
        torch._foreach_copy_([*params, *slots], values)
        return after.steps

    return move


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
