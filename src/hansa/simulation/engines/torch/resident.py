"""The resident engines: one module that stays, PyTorch's own autograd and fused optimisers, channels last for convolutions.

"resident-bf16" does the forward and backward passes in bfloat16, where the processor or the GPU has it. This file must not
know of graphs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import MissingExtra
from hansa.simulation.engines.engine import CannotFuse, Trainer
from hansa.simulation.engines.torch.batches import batches
from hansa.simulation.engines.torch.movers import Mover, mover
from hansa.simulation.engines.torch.start import Start, torch_model
from hansa.training import LocalTraining

try:
    import torch
    from torch import Tensor, nn
    from torch.utils._python_dispatch import TorchDispatchMode
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


class ResidentModule:
    """Trains every client in the same module.

    Args:
        training: what is computed.
        device: where.
        narrow: whether forward and backward are in bfloat16.

    Raises:
        CannotFuse: it is not a training that PyTorch's engines know; or bfloat16 would gain nothing here.
    """

    exact = False
    chunk = 1

    def __init__(self, training: LocalTraining, device: str, *, narrow: bool = False) -> None:
        self._model, self._training, self._device = torch_model(training), training, device
        self.name, self._narrow = "resident-bf16" if narrow else "resident", narrow
        self._module = copy.deepcopy(self._model._module).to(device).train()
        self._draws: _Draws | None = None
        self._lay(channels_last=any(isinstance(part, CONVOLUTIONS) for part in self._module.modules()))
        if narrow:
            _check_narrow(device, list(self._module.parameters()))

    def trainer(self, broadcast: Tree) -> Trainer:
        """What trains clients from one broadcast."""
        start = Start.of(self._training, broadcast, self._device)
        return lambda contexts: [self._trained(start, context) for context in contexts]

    def _lay(self, *, channels_last: bool) -> None:
        """Put the module's memory in order."""
        self._channels_last = channels_last
        order = torch.channels_last if channels_last else torch.contiguous_format
        self._module.to(memory_format=order)  # type: ignore[call-overload]  # not in PyTorch's stubs
        self._own = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}

    def _look(self, context: ClientContext) -> bool:
        """Whether a forward pass draws random numbers; leaves the module in an order in which it draws what it should."""
        if self._draws is None:
            (_, _, batch), self._draws = next(batches(self._training, context, self._device)), _Draws()  # type: ignore[no-untyped-call]  # PyTorch's
            with self._model.seeded(context.key, self._device), self._draws:
                self._loss(batch)
            if self._draws.scattered:  # numbers are drawn in the order of memory: these would fall elsewhere
                self._lay(channels_last=False)
        return self._draws.random

    def _trained(self, start: Start, context: ClientContext) -> Update:
        random, form, factor = self._look(context), start.form, self._training.schedule(context.round)
        values, steps = start.visit(context)
        params = [self._own[name] for name in form.trained]
        with torch.no_grad():
            leaves = [self._own[name] for name in form.leaves]
            torch._foreach_copy_(leaves, values[: len(leaves)])
            slots = [
                self._slot(name, value) for (_, name), value in zip(form.slots, values[len(leaves) :], strict=True)
            ]
        move: Mover = mover(self._training, form, params, slots)
        # The definition gives every step the module's own copies of the buffers that are not in the tree.
        passing = [(self._own[name], self._own[name].clone()) for name in self._own.keys() - set(form.leaves)]
        loss, examples, taken, begun = start.loss, 0, 0, start.begun
        with self._model.seeded(context.key, self._device) if random else nullcontext(), torch.enable_grad():
            for size, _, batch in batches(self._training, context, self._device):
                if random:
                    torch.manual_seed(context.key.child("step", taken).integer(63))
                mean = self._loss(batch)
                gradient = torch.autograd.grad(mean, params, allow_unused=True, materialize_grads=True)
                with torch.no_grad():
                    steps = move(gradient, begun, steps, factor)
                    for buffer, before in passing:
                        buffer.copy_(before)
                loss = loss + mean.detach() * size
                taken, examples = taken + 1, examples + size
        with torch.no_grad():
            return start.update([*leaves, *slots], steps, float(loss), examples, context)

    def _slot(self, name: str, value: Tensor) -> Tensor:
        """A slot's own memory, laid out like the parameter that it is named after."""
        like = self._own.get(name, value)
        return torch.empty_like(like if like.shape == value.shape else value, dtype=value.dtype).copy_(value)

    def _loss(self, batch: Sequence[Tensor]) -> Tensor:
        inputs: Sequence[Any] = batch[:-1]
        if self._channels_last:
            inputs = [each.contiguous(memory_format=torch.channels_last) if each.ndim == 4 else each for each in inputs]
        if not self._narrow:
            return self._model.loss(self._module(*inputs), batch[-1])
        with torch.autocast(torch.device(self._device).type, torch.bfloat16):
            outputs = self._module(*inputs)
        wide = outputs.float() if isinstance(outputs, Tensor) and outputs.is_floating_point() else outputs
        return self._model.loss(wide, batch[-1])


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
    """Watches a forward pass.

    Attributes:
        random: whether it drew random numbers.
        scattered: whether for a tensor that lies in memory in another order than that of its axes.
    """

    random = scattered = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.random = True
            self.scattered |= any(isinstance(each, Tensor) and not each.is_contiguous() for each in args)
        return func(*args, **(kwargs or {}))


def resident(training: LocalTraining, device: str) -> ResidentModule:
    """PyTorch as one would write it; an EngineKind."""
    return ResidentModule(training, device)


def resident_bf16(training: LocalTraining, device: str) -> ResidentModule:
    """The same in bfloat16; an EngineKind."""
    return ResidentModule(training, device, narrow=True)


def _check_narrow(device: str, params: Sequence[Tensor]) -> None:
    if torch.device(device).type == "cuda":
        able = torch.cuda.is_bf16_supported()
    else:
        able = device == "cpu" and _processor_has_bfloat16()
    if not able:
        raise CannotFuse(f"{device} does not compute with bfloat16")
    if any(param.dtype != torch.float32 for param in params):
        raise CannotFuse("its parameters are not float32")


def _processor_has_bfloat16() -> bool:
    """Whether it has AVX512-BF16 or AMX; PyTorch has no public way to ask."""
    cpu: Any = torch.cpu
    asked = (getattr(cpu, name, bool) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in asked)
