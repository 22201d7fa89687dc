"""The step by autograd: a hand-written forward pass over the flat parameters' views, and a fused optimiser.

Tried and left out, processor µs a step on one core. The MLP, 254 as it is: public names 301, `foreach` instead of a call for
each parameter 310, `backward()` into the parameters 301, `torch.optim.SGD` fused or not 360. EMNIST's convolutions, ms: 20.0 as
it is; the module in channels-last, which copies when it flattens, 21.8; in its own layout 23.8; the same in bf16 12.1, 12.7 and
16.0. Adam of one flat tensor instead of ten: the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import _VF, Tensor
from torch.nn import functional as F

from benchmarks.simulation.flat import Flat
from benchmarks.simulation.given.networks_torch import next_character
from benchmarks.simulation.workloads import Workload

Params = list[Tensor] | tuple[Tensor, ...]
Gradients = Params
Forward = Callable[[Params, Tensor], Tensor]
Change = Callable[[Gradients], object]

# The names below the public ones do the same in fewer lines of Python: 45 µs a step of the MLP.
_linear = torch._C._nn.linear
_cross_entropy: Any = torch._C._nn.cross_entropy_loss
_backward: Any = torch.autograd.Variable._execution_engine.run_backward


def stepping(
    workload: Workload, flat: Flat, *, bf16: bool
) -> tuple[Callable[[], None], Callable[[Tensor, Tensor], Tensor]]:
    """(what resets the optimiser, the step)."""
    params = [view.detach().requires_grad_() for view in flat.views.values()]
    forward, losses = FORWARD[workload.network], next_character if workload.network == "lstm" else cross_entropy
    reset, change = adam(workload.rate, flat) if workload.adam else sgd(workload.rate, flat)
    one, kept = (torch.ones(()),), tuple(params)

    def step(x: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            value = losses(forward(params, x), y)
        change(_backward((value,), one, False, False, kept, False, accumulate_grad=False))
        return value.detach()

    def step_bf16(x: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            with torch.autocast("cpu", torch.bfloat16):
                outputs = forward(params, x)
            value = losses(outputs.float(), y)
        change(_backward((value,), one, False, False, kept, False, accumulate_grad=False))
        return value.detach()

    return reset, step_bf16 if bf16 else step


def sgd(rate: float, flat: Flat) -> tuple[Callable[[], None], Change]:
    """Plain stochastic gradient descent."""
    values = list(flat.views.values())

    def change(gradients: Gradients) -> None:
        for value, gradient in zip(values, gradients, strict=True):
            value.add_(gradient, alpha=-rate)

    return (lambda: None), change


def adam(rate: float, flat: Flat) -> tuple[Callable[[], None], Change]:
    """PyTorch's fused Adam, with its usual settings."""
    values, first, second = list(flat.views.values()), flat.like(), flat.like()
    steps = [torch.zeros(()) for _ in values]

    def reset() -> None:
        torch._foreach_zero_([*first, *second, *steps])

    def change(gradients: Gradients) -> None:
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            values,
            gradients,
            first,
            second,
            [],
            steps,
            lr=rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    return reset, change


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean over a batch."""
    value: Tensor = _cross_entropy(outputs, labels, None, 1, -100, 0.0)
    return value


def pictures(x: Tensor) -> Tensor:
    """In the layout that convolutions are fastest in."""
    return x.contiguous(memory_format=torch.channels_last)


def flattened(x: Tensor) -> Tensor:
    """The pixels of channels-last pictures as they lie, without a copy."""
    return x.permute(0, 2, 3, 1).flatten(1)


def dense(params: Params, x: Tensor) -> Tensor:
    """Dense layers with ReLU between them."""
    for weight, bias in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = torch.relu_(_linear(x, weight, bias))
    return _linear(x, params[-2], params[-1])


def cnn(params: Params, x: Tensor) -> Tensor:
    x = F.relu_(F.conv2d(pictures(x), params[0], params[1]))
    x = F.relu_(F.conv2d(x, params[2], params[3]))
    return dense(params[4:], flattened(F.max_pool2d(x, 2)))


def two_pooled(params: Params, x: Tensor) -> Tensor:
    """Both CIFAR-10 networks."""
    x = F.max_pool2d(F.relu_(F.conv2d(pictures(x), params[0], params[1])), 2)
    x = F.max_pool2d(F.relu_(F.conv2d(x, params[2], params[3])), 2)
    return dense(params[4:], flattened(x))


def lstm(params: Params, x: Tensor) -> Tensor:
    nothing = torch.zeros(2, len(x), 256)
    embedded = F.embedding(x, params[0])
    out = _VF.lstm(embedded, (nothing, nothing), params[1:9], True, 2, 0.0, True, False, True)[0]
    return F.linear(out, *params[9:])


FORWARD: dict[str, Forward] = {"cnn": cnn, "mlp": dense, "blitz": two_pooled, "cifar": two_pooled, "lstm": lstm}
