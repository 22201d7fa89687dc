"""Ten owners of CIFAR-10 pictures train the network of PyTorch's 60-minute blitz."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

import hansa

ROUNDS = 5


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def loader(shard: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """Four fifths to train on, and a fifth, the same at every visit, to evaluate on."""
    train, valid = shard["train"].train_test_split(test=0.2)
    return train.with_transform(mirrored(settings["seed"])) if settings["augment"] else train, valid


def mirrored(seed: int) -> Any:
    """Mirrors each picture with probability 1/2. The seed is another for each visit, and the same when it is repeated."""
    generator = hansa.key(seed).generator()

    def transform(batch: dict[str, Any]) -> dict[str, Any]:
        chosen = generator.random(len(batch["x"])) < 0.5
        batch["x"][chosen] = batch["x"][chosen, :, :, ::-1]
        return batch

    return transform


model = hansa.TorchModel(network, loss=nn.functional.cross_entropy)
local = hansa.LocalTraining(model, hansa.Adam(1e-3), batch_size=32, epochs=1)
half = hansa.UniformSampler(fraction=0.5)
algorithm = hansa.Evaluated(hansa.FedAvg(local, ROUNDS), hansa.Evaluation(model, split="valid"), sampler=half)
experiment = hansa.Experiment(
    model,
    algorithm,
    name="cifar10",
    loader=loader,
    settings={"augment": False},
    requirements=("torch>=2.4",),
)


def data() -> hansa.FederatedData:
    return hansa.shards_of(hansa.load_owners(Path(__file__).with_name("owners.toml")))
