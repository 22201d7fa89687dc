"""The step in exactly the arithmetic of Hansa's reference mode, so that a client's parameters come out with the same bits.

Eager PyTorch on the module as it is written, in its own layout; the optimiser by plain operators, x − g·η, in place.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.simulation.flat import Flat
from benchmarks.simulation.given.networks_torch import NETWORKS, loss
from benchmarks.simulation.workloads import Workload


def stepping(workload: Workload, flat: Flat) -> tuple[Callable[[], None], Callable[[Tensor, Tensor], Tensor]]:
    """(what resets the optimiser, the step)."""
    module, losses = flat.given_to(NETWORKS[workload.network]()), loss(workload.network)
    params, views = list(module.parameters()), list(flat.views.values())
    m, v, together = (torch.zeros_like(flat.values) for _ in range(3))
    pieces = [together.as_strided(view.shape, view.stride(), view.storage_offset()) for view in views]
    steps, rate = 0, workload.rate

    def reset() -> None:
        nonlocal steps
        steps = 0
        m.zero_()
        v.zero_()

    def step(x: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            value = losses(module(x), y)
            gradients = torch.autograd.grad(value, params)
        for view, gradient in zip(views, gradients, strict=True):
            view.sub_(gradient.mul_(rate))
        return value.detach()

    def step_adam(x: Tensor, y: Tensor) -> Tensor:
        nonlocal steps
        with torch.enable_grad():
            value = losses(module(x), y)
            gradients = torch.autograd.grad(value, params)
        torch._foreach_copy_(pieces, gradients)
        steps += 1
        m.mul_(0.9).add_(together * (1 - 0.9))
        v.mul_(0.999).add_(together.square_().mul_(1 - 0.999))
        move = (v * (1 / (1 - 0.999**steps))).sqrt_().add_(1e-8)
        flat.values.sub_(torch.div(m * (1 / (1 - 0.9**steps)), move, out=move).mul_(rate))
        return value.detach()

    return reset, step_adam if workload.adam else step
