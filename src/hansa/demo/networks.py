"""The demo's two small convolution networks, one for each size of image."""

from __future__ import annotations

from torch import nn
from torch.nn.functional import cross_entropy as loss

__all__ = ["loss", "network_8", "network_28"]


def network_28() -> nn.Module:
    """Images (1, 28, 28): conv 1→20 k5, pool, conv 20→50 k5, pool, fc 500, fc 10."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * 4 * 4, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )


def network_8() -> nn.Module:
    """Images (1, 8, 8): conv 1→32 k3, conv 32→64 k3, pool, fc 500, fc 10."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )
