"""The step differentiated by hand: no autograd, every operator called by name, and what is the same in fewer operations.

An MLP's gradients are added where they go as they are computed; convolution networks pool before they rectify, which gives the
same numbers from a quarter of them. There is none for the LSTM: its forward and backward are one operator each already.

Tried, processor µs a step of the MLP, 145 as it is: biases' gradients by `sum` instead of a product with ones 166; `no_grad`
instead of `inference_mode` 11 more; weights the other way round the same; every result in a buffer of its own 142; the softmax'
gradient by a scatter 152; all of it in TorchScript 146. EMNIST: 17.8 ms; by autograd, if that too pools first, 18.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.simulation.flat import Flat
from benchmarks.simulation.floor_autograd import Change, adam, flattened, pictures, sgd
from benchmarks.simulation.workloads import Workload

Step = Callable[[Tensor, Tensor], Tensor]
aten = torch.ops.aten
_nll, _nll_back = aten.nll_loss_forward.default, aten.nll_loss_backward.default
_softmax_back, _relu_back = aten._log_softmax_backward_data.default, aten.threshold_backward.default
_pool_back, _conv_back = aten.max_pool2d_with_indices_backward.default, aten.convolution_backward.default
_GEOMETRY = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
"""Of every convolution here: stride, padding, dilation, whether transposed, output padding, groups."""


def stepping(workload: Workload, flat: Flat) -> tuple[Callable[[], None], Step]:
    """(what resets the optimiser, the step)."""
    params = list(flat.views.values())
    if workload.network == "mlp":
        return (lambda: None), mlp(params, workload.rate, workload.batch)
    if workload.network == "lstm":
        raise SystemExit("nobody has differentiated the LSTM by hand")
    reset, change = adam(workload.rate, flat) if workload.adam else sgd(workload.rate, flat)
    return reset, convolutions(params, change, pooled=workload.network != "cnn")


def mlp(params: Sequence[Tensor], rate: float, batch: int) -> Step:
    """Two dense layers, SGD."""
    w1, b1, w2, b2 = params
    w1t, w2t, one = w1.t(), w2.t(), torch.ones(())
    ones = {size: torch.ones(size) for size in range(1, batch + 1)}  # a product with them is faster than a sum

    def step(x: Tensor, y: Tensor) -> Tensor:
        hidden = torch.addmm(b1, x, w1t).relu_()
        logs = torch.log_softmax(torch.addmm(b2, hidden, w2t), 1)
        value, weight = _nll(logs, y, None, 1, -100)
        back = _softmax_back(_nll_back(one, logs, y, None, 1, -100, weight), logs, 1, torch.float32)
        below = _relu_back(torch.mm(back, w2), hidden, 0)
        summing, back, below = ones[len(y)], back.t(), below.t()
        w2.addmm_(back, hidden, alpha=-rate)
        b2.addmv_(back, summing, alpha=-rate)
        w1.addmm_(below, x, alpha=-rate)
        b1.addmv_(below, summing, alpha=-rate)
        result: Tensor = value
        return result

    return step


def convolutions(params: Sequence[Tensor], change: Change, *, pooled: bool) -> Step:
    """Two convolutions, each pooled or only the second, then dense layers."""
    (w1, b1, w2, b2), dense = params[:4], params[4:]
    one = torch.ones(())

    def step(x: Tensor, y: Tensor) -> Tensor:
        x = pictures(x)
        first = F.conv2d(x, w1, b1)
        below, chosen = F.max_pool2d_with_indices(first, [2, 2]) if pooled else (first, None)
        below.relu_()
        second = F.conv2d(below, w2, b2)
        top, chosen_top = F.max_pool2d_with_indices(second, [2, 2])
        inputs = [flattened(top.relu_())]
        for weight, bias in zip(dense[:-2:2], dense[1:-2:2], strict=True):
            inputs.append(torch.addmm(bias, inputs[-1], weight.t()).relu_())
        logs = torch.log_softmax(torch.addmm(dense[-1], inputs[-1], dense[-2].t()), 1)
        value, counted = _nll(logs, y, None, 1, -100)
        back = _softmax_back(_nll_back(one, logs, y, None, 1, -100, counted), logs, 1, torch.float32)
        gradients: list[Tensor] = []
        for weight, entered in zip(dense[-2::-2], reversed(inputs), strict=True):
            gradients[:0] = torch.mm(back.t(), entered), back.sum(0)
            back = _relu_back(torch.mm(back, weight), entered, 0)
        channels, high, wide = top.shape[1:]
        back = back.view(-1, high, wide, channels).permute(0, 3, 1, 2)
        back = _pool_back(back, second, [2, 2], [2, 2], [0, 0], [1, 1], False, chosen_top)
        back, *own = _conv_back(back, below, w2, [len(w2)], *_GEOMETRY, [True, True, True])
        back = _relu_back(back, below, 0)
        if pooled:
            back = _pool_back(back, first, [2, 2], [2, 2], [0, 0], [1, 1], False, chosen)
        _, *lowest = _conv_back(back, x, w1, [len(w1)], *_GEOMETRY, [False, True, True])
        change([*lowest, *own, *gradients])
        result: Tensor = value
        return result

    return step
