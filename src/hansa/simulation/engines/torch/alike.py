"""Whether an engine's step is the definition's: to the bit, or within rounding."""

from __future__ import annotations

from hansa.errors import MissingExtra

try:
    import torch
    from torch import Tensor
except ImportError as missing:
    raise MissingExtra.of("PyTorch", "torch", "its engines") from missing

TOLERANCE = 1e-3
"""Of the largest change that a step makes to a leaf: by how much an inexact step may differ from the definition's."""

ROUNDING = 1e-6
"""Of a leaf's largest value: what two ways of rounding may differ by where nothing changes."""


def same_bits(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are the same to the last bit, shape and dtype included."""
    alike = (found.shape, found.dtype) == (expected.shape, expected.dtype)
    return alike and torch.equal(_bytes(found), _bytes(expected))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def close(found: Tensor, expected: Tensor, before: Tensor) -> bool:
    """Whether a value after a step is the expected one, within what inexact arithmetic may change."""
    if not expected.is_floating_point():
        return same_bits(found, expected)
    if (found.shape, found.dtype) != (expected.shape, expected.dtype) or not expected.numel():
        return same_bits(found, expected)
    within = TOLERANCE * (expected - before).abs().max() + ROUNDING * expected.abs().max()
    return bool(((found - expected).abs() <= within).all())
