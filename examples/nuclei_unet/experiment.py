"""A small U-Net learns to find cell nuclei at five sites whose images, and whose files, are unlike."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hansa

ROUNDS = 15
EVERY = 5
STEPS = 8  # a site takes in a round
WIDTH = 16  # channels of the first layer
CROP = 48  # pixels on a side, of 128


def block(channels: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (channels, out):
        # Groups, not batches: a site's own statistics would not serve the other sites.
        layers += [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.GroupNorm(4, out), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Ronneberger et al. 2015, with two steps down and up instead of four. Images (n, 3, h, w) to logits (n, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.middle, self.coarse = block(3, WIDTH), block(WIDTH, 2 * WIDTH), block(2 * WIDTH, 4 * WIDTH)
        self.to_middle, self.to_fine = block(6 * WIDTH, 2 * WIDTH), block(3 * WIDTH, WIDTH)
        self.last = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images)
        middle = self.middle(F.max_pool2d(fine, 2))
        coarse = self.coarse(F.max_pool2d(middle, 2))
        middle = self.to_middle(torch.cat([F.interpolate(coarse, scale_factor=2), middle], dim=1))
        fine = self.to_fine(torch.cat([F.interpolate(middle, scale_factor=2), fine], dim=1))
        logits: Tensor = self.last(fine)
        return logits[:, 0]


def loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy, which trains every pixel, and 1 − Dice, which does not mind how few are nuclei."""
    masks, found = masks.float(), logits.sigmoid()
    dice = (2 * (found * masks).sum() + 1) / (found.sum() + masks.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - dice


def dice(outputs: np.ndarray, masks: np.ndarray) -> hansa.Mean:
    """2·|found ∩ true| / (|found| + |true|) over all pixels of all images; merges exactly, because both are counts."""
    found, true = outputs > 0, masks > 0
    return hansa.Mean.share(2 * int((found & true).sum()), int(found.sum() + true.sum()))


def loader(shard: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Any, None]:
    """Train on a part of each image, turned at random; another one whenever it is read."""
    random = hansa.key(settings["seed"], "crops").generator()

    def cropped(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        top, left = random.integers(0, batch["y"].shape[1] - CROP + 1, 2)
        mirrored, turned = random.integers(0, 2, 2)
        step = -1 if mirrored else 1
        part = {name: pixels[..., top : top + CROP, left : left + CROP][..., ::step] for name, pixels in batch.items()}
        return {name: np.ascontiguousarray(np.rot90(p, turned, (-2, -1))) for name, p in part.items()}

    return shard["train"].with_transform(cropped), None


def data() -> hansa.FederatedData:
    return hansa.shards_of(hansa.load_owners(Path(__file__).with_name("owners.toml")))


model = hansa.TorchModel(UNet, loss=loss)
local = hansa.LocalTraining(model, hansa.Adam(3e-3), batch_size=8, steps=STEPS)
evaluation = hansa.Evaluation(model, {"dice": dice}, batch_size=16)
# Every site counts the same, however many images it has: the rarest look is what the federation is for.
algorithm = hansa.Evaluated(hansa.FedAvg(local, ROUNDS, weighted=False), evaluation, every=EVERY)
experiment = hansa.Experiment(model, algorithm, loader=loader, best="max dice", requirements=("torch",), name="nuclei")
