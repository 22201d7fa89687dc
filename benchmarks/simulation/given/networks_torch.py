"""The networks in PyTorch, as a user writes them. Peers run this file too: it must know nothing but PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def cnn() -> nn.Module:
    """conv3×3×32, conv3×3×64, pool, dense 128, 62 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Linear(128, 62),
    )


def mlp() -> nn.Module:
    """784-128-62."""
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 62))


def blitz() -> nn.Module:
    """The network of PyTorch's 60 minute blitz."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def cifar() -> nn.Module:
    """conv32-conv64-128: the network of most papers on 100 clients."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2304, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


class CharLSTM(nn.Module):
    """Two layers of 256 units over characters; gives (batch, characters, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(90, 8)
        self.lstm = nn.LSTM(8, 256, 2, batch_first=True)
        self.output = nn.Linear(256, 90)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.lstm(self.embedding(x))[0])
        return out


def next_character(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over all characters."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "cnn": cnn,
    "mlp": mlp,
    "blitz": blitz,
    "cifar": cifar,
    "lstm": CharLSTM,
}


def loss(network: str) -> Callable[[Tensor, Tensor], Tensor]:
    """What a network is trained on."""
    return next_character if network == "lstm" else F.cross_entropy


def made(network: str, seed: int) -> nn.Module:
    """A network with parameters drawn by a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[network]()
