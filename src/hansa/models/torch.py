"""PyTorch: any `nn.Module` with any loss function is a Model.

A leaf's name is its name in `state_dict()`, so that `module.load_state_dict` takes what Hansa trained.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np

from hansa.core.keys import Key, key
from hansa.core.tree import Array, Tree
from hansa.errors import ConfigError, MissingExtra
from hansa.models.model import Batch, Gradient, Prediction, Resident, field_of, label_outside

try:
    import torch
    from torch import Tensor, nn
    from torch.func import functional_call
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "a TorchModel") from missing

_CPU = torch.device("cpu")

_CARRIED: dict[np.dtype[Any], tuple[torch.dtype, np.dtype[Any], torch.dtype]] = {
    np.dtype(ml_dtypes.bfloat16): (torch.bfloat16, np.dtype(np.int16), torch.int16),
    np.dtype(ml_dtypes.float8_e4m3fn): (torch.float8_e4m3fn, np.dtype(np.uint8), torch.uint8),
    np.dtype(ml_dtypes.float8_e5m2): (torch.float8_e5m2, np.dtype(np.uint8), torch.uint8),
}
"""Dtypes that PyTorch and NumPy do not exchange: they are carried over as integers of the same width."""


@dataclass(frozen=True)
class TorchModel:
    """A module and its loss.

    Attributes:
        module: a function that makes the module, such as its class (then `init` draws new parameters for each seed), or a
            module (then `init` returns the parameters that it has, for example pre-trained ones; it is copied).
        loss: of (outputs, targets), the mean over a batch, such as `torch.nn.functional.cross_entropy`.
        inputs: the field, or the fields, of a batch that the module is called with.
        target: the field that the loss compares with.
    """

    module: Callable[[], nn.Module] | nn.Module
    loss: Callable[[Any, Tensor], Tensor]
    inputs: str | tuple[str, ...] = "x"
    target: str = "y"

    def __post_init__(self) -> None:
        if isinstance(self.module, nn.Module):
            object.__setattr__(self, "module", copy.deepcopy(self.module))

    @property
    def buffers(self) -> frozenset[str]:
        """Persistent buffers and frozen parameters."""
        return frozenset(_state(self._module).keys() - self._trained.keys())

    def init(self, key: Key) -> Tree:
        """The parameters of a module made with PyTorch's generator seeded by `key`; or those of the given module."""
        return self.dump(_state(self._module if isinstance(self.module, nn.Module) else self._made(key)))

    def load(self, params: Tree, device: str = "cpu") -> Resident:
        """Tensors; PyTorch allocates them at multiples of 64 bytes."""
        return {name: _tensor(leaf).to(device) for name, leaf in params.items()}

    def dump(self, params: Resident) -> Tree:
        """NumPy arrays."""
        return {name: _array(tensor) for name, tensor in params.items()}

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:
        """Forward and backward in training mode; dropout and the like draw from a generator seeded by `key`."""
        self._module.train()
        trained = {name: params[name].detach().requires_grad_() for name in self._trained}
        # The forward pass changes buffers in place: give it copies, and hand them back as new values.
        buffers = {name: tensor.clone() for name, tensor in params.items() if name not in trained}
        with _seeded(key, next(iter(params.values())).device):
            loss = self._loss({**trained, **buffers}, batch)[0]
            gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True, materialize_grads=True)
        wide = torch.promote_types(loss.dtype, torch.float32)
        return Gradient(loss.detach().to(wide), dict(zip(trained, gradients, strict=True)), buffers)

    @torch.no_grad()
    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """Forward in evaluation mode."""
        self._module.eval()
        loss, outputs = self._loss(params, batch)
        wide = torch.promote_types(outputs.dtype, torch.float32) if outputs.is_floating_point() else outputs.dtype
        return Prediction(float(loss), outputs.to(wide).cpu().numpy())

    def loaded(self, params: Tree) -> nn.Module:
        """A module of its own with these parameters, in evaluation mode, to use outside of Hansa."""
        module = copy.deepcopy(self._module)
        module.load_state_dict(self.load(params), strict=False)  # tied parameters are in the tree only once
        return module.eval()

    @cached_property
    def _module(self) -> nn.Module:
        """The module whose structure is used; its own parameters are not."""
        return self.module if isinstance(self.module, nn.Module) else self._made(key(0))

    @cached_property
    def _trained(self) -> Mapping[str, nn.Parameter]:
        return {name: parameter for name, parameter in self._module.named_parameters() if parameter.requires_grad}

    def _made(self, key: Key) -> nn.Module:
        with _seeded(key):
            made: Any = self.module()
        if not isinstance(made, nn.Module):
            raise ConfigError(
                f"the module function of a TorchModel returned {type(made).__name__}, not an nn.Module",
                hint="pass a module, its class, or a function without arguments that makes it",
            )
        return made

    def _loss(self, params: Resident, batch: Batch) -> tuple[Tensor, Tensor]:
        device = next(iter(params.values())).device
        names = (self.inputs,) if isinstance(self.inputs, str) else self.inputs
        inputs = tuple(_tensor(field_of(batch, name, "TorchModel")).to(device) for name in names)
        target = _tensor(field_of(batch, self.target, "TorchModel")).to(device)
        if not target.is_floating_point():
            target = target.long()  # what PyTorch's losses expect of classes
        # What is not in the tree, buffers that are not persistent, is the module's own: a forward pass gets copies of it.
        own = {name: tensor.clone() for name, tensor in self._module.named_buffers() if name not in params}
        outputs = functional_call(self._module, {**own, **params}, inputs)
        try:
            return self.loss(outputs, target), outputs
        except (IndexError, RuntimeError) as problem:
            raise _explained(problem, outputs, target) from problem


def _explained(problem: Exception, outputs: Any, target: Tensor) -> Exception:
    """The same problem in the user's words where it is a label without an output; otherwise unchanged."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or target.is_floating_point() or not target.numel():
        return problem
    low, high, classes = int(target.min()), int(target.max()), outputs.shape[1]
    if low >= 0 and high < classes:
        return problem
    return label_outside(low if low < 0 else high, classes)


def _state(module: nn.Module) -> Resident:
    """Parameters, tied ones once, and persistent buffers, by their names in `state_dict()`."""
    parameters = dict(module.named_parameters())
    tied = {name for name, _ in module.named_parameters(remove_duplicate=False)} - parameters.keys()
    return {name: tensor for name, tensor in module.state_dict().items() if name not in tied}


@contextmanager
def _seeded(key: Key, device: torch.device = _CPU) -> Iterator[None]:
    """PyTorch's global generators seeded by a key, and put back afterwards: dropout draws from nowhere else."""
    if device.type == "cpu":
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: where no GPU is in use yet it takes down a stack trace for each that may be one day.
            torch.default_generator.manual_seed(key.integer(63))
            yield
    else:
        with torch.random.fork_rng(devices=[device], device_type=device.type):
            torch.manual_seed(key.integer(63))
            yield


def _tensor(leaf: Array) -> Tensor:
    """A copy as a tensor."""
    if leaf.dtype in _CARRIED:
        dtype, integer, _ = _CARRIED[leaf.dtype]
        return torch.tensor(leaf.view(integer)).view(dtype)
    return torch.tensor(leaf)


def _array(tensor: Tensor) -> Array:
    """A copy as a NumPy array."""
    tensor = tensor.detach().cpu().contiguous()
    for dtype, (carried, integer, torch_integer) in _CARRIED.items():
        if tensor.dtype == carried:
            array: Array = tensor.view(torch_integer).numpy().astype(integer).view(dtype)
            return array
    copied: Array = tensor.numpy().copy()
    return copied
