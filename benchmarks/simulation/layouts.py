"""PyTorch's parameters as the networks in plain JAX have them, so that everybody starts from the same model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def converted(given: Mapping[str, Any]) -> dict[str, Any]:
    """PyTorch's parameters by their names, in JAX's layouts."""
    found: dict[str, Any] = {}
    channels = convolutions = dense = 0
    for weight, bias in zip(*(list(given.values())[start::2] for start in (0, 1)), strict=True):
        if weight.ndim == 4:
            convolutions += 1
            name, kernel, channels = f"conv{convolutions}", weight.transpose(2, 3, 1, 0), len(weight)
        else:
            dense += 1
            name, kernel = f"dense{dense}", weight.T
            if channels:  # what it reads was flattened channels first
                side = round((len(kernel) / channels) ** 0.5)
                kernel = kernel.reshape(channels, side, side, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)
                channels = 0
        found |= {f"{name}/kernel": np.ascontiguousarray(kernel), f"{name}/bias": bias}
    return found
