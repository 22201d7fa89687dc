"""Hundreds of Shakespeare's roles, kept by three companies, learn together to say the next character."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

import hansa

ROUNDS = 40
EVERY = 20
COHORT = 15  # roles a round, of 444
WINDOW = 80  # characters that the network reads
HIDDEN = 128


class NextCharacter(nn.Module):
    """ASCII codes (n, length) to logits (n, 128, length) of the character after each."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(128, 32), nn.GRU(32, HIDDEN, batch_first=True)
        self.last = nn.Linear(HIDDEN, 128)

    def forward(self, text: Tensor) -> Tensor:
        read, _ = self.gru(self.embedding(text.long()))
        logits: Tensor = self.last(read)
        return logits.transpose(1, 2)


def windows(dataset: hansa.ClientDataset) -> hansa.ClientDataset:
    """A text cut into windows, each with itself one character later."""
    cut = np.lib.stride_tricks.sliding_window_view(dataset["text"], WINDOW + 1)[::WINDOW]
    return hansa.ClientDataset({"x": cut[:, :-1], "y": cut[:, 1:]})


def loader(shard: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Any, Any]:  # noqa: ARG001
    return windows(shard["train"]), windows(shard["test"])


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> hansa.Mean:
    """The share of characters that the network would have said."""
    return hansa.Mean.share(int((outputs.argmax(axis=1) == labels).sum()), labels.size)


def data() -> hansa.FederatedData:
    return hansa.shards_of(hansa.load_owners(Path(__file__).with_name("owners.toml")))


model = hansa.TorchModel(NextCharacter, loss=nn.functional.cross_entropy)
local = hansa.LocalTraining(model, hansa.Adam(5e-3), batch_size=16, epochs=1)
training = hansa.FedAvg(local, ROUNDS, hansa.UniformSampler(COHORT))
evaluation = hansa.Evaluation(model, {"accuracy": accuracy}, split="valid")
algorithm = hansa.Evaluated(training, evaluation, every=EVERY)
experiment = hansa.Experiment(model, algorithm, loader=loader, requirements=("torch",), name="Shakespeare")
