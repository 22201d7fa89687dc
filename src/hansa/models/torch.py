"""PyTorch: any `nn.Module` with any loss function is a Model.

A leaf's name is its name in `state_dict()`, so that `module.load_state_dict` takes what Hansa trained.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np

from hansa.core import tree
from hansa.core.keys import Key, key
from hansa.core.tree import Array, Tree
from hansa.errors import ConfigError, MissingExtra, TreeMismatch, UnknownName
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
        device = next(iter(params.values())).device
        with _seeded(key, device):
            return self.differentiated(params, self.tensors(batch, str(device)))

    def differentiated(self, params: Resident, tensors: tuple[Tensor, ...]) -> Gradient:
        """`gradient` of the `tensors` of a batch, drawing from PyTorch's generator as it stands: operators of PyTorch only."""
        self._module.train()
        trained = {name: params[name].detach().requires_grad_() for name in self._trained}
        # The forward pass changes buffers in place: give it copies, and hand them back as new values.
        buffers = {name: tensor.clone() for name, tensor in params.items() if name not in trained}
        loss = self._loss({**trained, **buffers}, tensors)[0]
        gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True, materialize_grads=True)
        wide = torch.promote_types(loss.dtype, torch.float32)
        return Gradient(loss.detach().to(wide), dict(zip(trained, gradients, strict=True)), buffers)

    @torch.no_grad()
    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """Forward in evaluation mode."""
        self._module.eval()
        tensors = self.tensors(batch, str(next(iter(params.values())).device))
        loss, outputs = self._loss(params, tensors)
        wide = torch.promote_types(outputs.dtype, torch.float32) if outputs.is_floating_point() else outputs.dtype
        return Prediction(float(loss), outputs.to(wide).cpu().numpy())

    def loaded(self, params: Tree) -> nn.Module:
        """A module of its own with these parameters, in evaluation mode, to use outside of Hansa."""
        module = copy.deepcopy(self._module)
        module.load_state_dict(self.load(params), strict=False)  # tied parameters are in the tree only once
        return module.eval()

    def native(self, params: Tree, device: str = "cpu") -> nn.Module:
        """A module of the caller's own with these parameters and buffers, in training mode.

        Raises:
            TreeMismatch: they are another model's.
        """
        if params.keys() != (own := _state(self._module).keys()):
            missing, extra = sorted(own - params.keys()), sorted(params.keys() - own)
            raise TreeMismatch(
                f"the parameters are another model's: missing {missing or 'none'}, unexpected {extra or 'none'}",
                hint="give this model the parameters that its own init, or a run with it, gave",
            )
        return self.loaded(params).to(device).train()

    def extract(self, native: nn.Module) -> Tree:
        """Its parameters and buffers, by their names in `state_dict()`."""
        return self.dump(_state(native))

    # What tasks ask of PyTorch besides: see hansa.training.tasks.framework.

    def tensors(self, batch: Batch, device: str = "cpu") -> tuple[Tensor, ...]:
        """The inputs of a batch and its target, copied to a device; classes as int64, which PyTorch's losses expect."""
        names = (self.inputs,) if isinstance(self.inputs, str) else self.inputs
        inputs = [_tensor(field_of(batch, name, "TorchModel")).to(device) for name in names]
        target = _tensor(field_of(batch, self.target, "TorchModel")).to(device)
        return (*inputs, target if target.is_floating_point() else target.long())

    def mode(self, native: nn.Module, *, training: bool) -> None:
        """Put a module into training or evaluation mode."""
        native.train(training)

    def seeded(self, key: Key, device: str = "cpu") -> AbstractContextManager[None]:
        """PyTorch's global generators seeded by a key, and put back afterwards."""
        return _seeded(key, torch.device(device))

    def optimizer_state(self, native: nn.Module, optimizer: torch.optim.Optimizer) -> Tree:
        """What a `torch.optim` optimiser of a module remembers: "exp_avg/conv1.weight", dtypes and steps included.

        Raises:
            ConfigError: it is no such optimiser, has a parameter that is not the module's, or remembers more than tensors.
        """
        return tree.join({slot: self.dump(leaves) for slot, leaves in _slots(native, optimizer).items()})

    def load_optimizer(self, native: nn.Module, optimizer: torch.optim.Optimizer, state: Tree) -> None:
        """Let an optimiser of a module go on from an `optimizer_state`.

        Raises:
            UnknownName: the state is of a parameter that the module does not have.
        """
        parameters = dict(native.named_parameters())
        # Unless told otherwise PyTorch counts steps on the CPU, wherever the parameters are.
        counts_on_cpu = not any(group.get("capturable") or group.get("fused") for group in optimizer.param_groups)
        for slot, leaves in tree.parts(state).items():
            for name, leaf in leaves.items():
                if name not in parameters:
                    raise UnknownName.among("parameter", name, parameters)
                device = _CPU if slot == "step" and counts_on_cpu else parameters[name].device
                optimizer.state[parameters[name]][slot] = _tensor(leaf).to(device)

    def optimizer_form(self, native: nn.Module, optimizer: torch.optim.Optimizer) -> Tree:
        """Zeros in the form of the state that an optimiser will have; takes a step with both of them, so give it scratch ones.

        Raises:
            ConfigError: as `optimizer_state`, or its step needs a closure.
        """
        for parameter in native.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        if isinstance(optimizer, torch.optim.LBFGS):
            raise _kept_by_pytorch_alone(optimizer, "its step takes a closure")
        if isinstance(optimizer, torch.optim.Optimizer):
            optimizer.step()
        return tree.zeros_like(self.optimizer_state(native, optimizer))

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

    def _loss(self, params: Resident, tensors: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        *inputs, target = tensors
        # What is not in the tree, buffers that are not persistent, is the module's own: a forward pass gets copies of it.
        own = {name: tensor.clone() for name, tensor in self._module.named_buffers() if name not in params}
        outputs = functional_call(self._module, {**own, **params}, tuple(inputs))
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


def _slots(native: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Resident]:
    """The tensors that an optimiser remembers, by slot and parameter, in the module's order."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise _kept_by_pytorch_alone(optimizer, "it is no torch.optim.Optimizer")
    names = {id(parameter): name for name, parameter in native.named_parameters()}
    if any(id(parameter) not in names for parameter in optimizer.state):
        raise _kept_by_pytorch_alone(optimizer, "one of its parameters is not the model's")
    slots: dict[str, Resident] = {}
    for parameter in native.parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                slots.setdefault(slot, {})[names[id(parameter)]] = value
            elif value is not None:
                raise _kept_by_pytorch_alone(optimizer, f"its {slot!r} is a {type(value).__name__}, not a tensor")
    return slots


def _kept_by_pytorch_alone(optimizer: object, why: str) -> ConfigError:
    return ConfigError(
        f"the state of {type(optimizer).__name__} cannot be kept or federated: {why}",
        hint='use optimizer_state="reset", or an optimizer of torch.optim other than LBFGS over model.parameters()',
    )


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
    """A copy as a tensor, in C order: PyTorch keeps an array's own, which other kernels compute with, to other bits."""
    leaf = leaf if leaf.flags.c_contiguous else leaf.copy()
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
