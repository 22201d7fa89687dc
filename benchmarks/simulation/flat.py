"""A network's parameters as views of one flat tensor, laid out as the floors compute with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.simulation.given.networks_torch import NETWORKS
from benchmarks.simulation.pair import Array

ALIGNED = 16
"""Floats in 64 bytes: every parameter begins there, as PyTorch's own allocations do."""


@dataclass(frozen=True)
class Flat:
    """The flat tensor, and what is seen in it.

    Attributes:
        values: float32 of shape (parameters and padding,).
        views: the parameters by name, in the module's order.
        channels_last: whether convolutions lie channels-last in it, and the first dense layer after them has its columns in
            the order of a channels-last picture, so that flattening one copies nothing.
    """

    values: Tensor
    views: Mapping[str, Tensor]
    channels_last: bool

    @classmethod
    def of(cls, network: str, *, channels_last: bool) -> Flat:
        """For a network; the values are not set."""
        form = {name: parameter.shape for name, parameter in NETWORKS[network]().named_parameters()}
        lengths = [-(-shape.numel() // ALIGNED) * ALIGNED for shape in form.values()]
        values = torch.zeros(sum(lengths))
        pieces = zip(form.items(), torch.split(values, lengths), strict=True)
        views = {name: _view(piece[: shape.numel()], shape, channels_last) for (name, shape), piece in pieces}
        return cls(values, views, channels_last)

    @torch.no_grad()
    def read(self, initial: Mapping[str, Array]) -> Array:
        """The network's own parameters, by name, as a flat array."""
        convolved = 0
        for name, view in self.views.items():
            given = torch.from_numpy(initial[name])
            if self.channels_last and given.ndim == 2 and convolved:  # the first dense layer: its columns are c, h, w
                side = round((given.shape[1] / convolved) ** 0.5)
                given = given.view(-1, convolved, side, side).permute(0, 2, 3, 1).reshape(given.shape)
            convolved = given.shape[0] if given.ndim == 4 else convolved if given.ndim == 1 else 0
            view.copy_(given)
        flat: Array = self.values.numpy().copy()
        return flat

    def like(self) -> list[Tensor]:
        """Views of another flat tensor of zeros: see `views`."""
        other = torch.zeros_like(self.values)
        offsets = [view.storage_offset() for view in self.views.values()]
        return [
            other.as_strided(view.shape, view.stride(), offset)
            for view, offset in zip(self.views.values(), offsets, strict=True)
        ]

    def given_to(self, module: nn.Module) -> nn.Module:
        """The module, its parameters replaced by the views."""
        for name, parameter in module.named_parameters():
            parameter.data = self.views[name]
        return module


def _view(piece: Tensor, shape: torch.Size, channels_last: bool) -> Tensor:
    if channels_last and len(shape) == 4:
        out, channels, high, wide = shape
        return piece.view(out, high, wide, channels).permute(0, 3, 1, 2)
    return piece.view(shape)
