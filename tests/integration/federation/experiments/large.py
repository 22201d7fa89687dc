"""A model that is large for the link that it travels over: every client gives it back with a number of its own in it."""

import zlib
from typing import Any

import numpy as np

import hansa

SIZE, ROUNDS = 250_000, 1
SEED = 1  # a test writes another number here, so that nothing that it sends is there already


class Large:
    """A model of so many float32 that computes nothing."""

    buffers = frozenset[str]()

    def init(self, _key: hansa.Key) -> hansa.Tree:
        """Numbers that cannot be compressed."""
        return {"w": np.random.default_rng(SEED).random(SIZE, np.float32)}


class Echo:
    """Gives back what it got, and a number that is the client's."""

    buffers = frozenset[str]()

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        """A little of the model, so that it changes."""
        own = np.float32(zlib.crc32(f"{context.id}, {context.round}".encode()) / 2**32)
        return hansa.Update({name: (leaf * own * np.float32(1e-3)) for name, leaf in broadcast.items()})


model: Any = Large()  # of a Model it is only what this takes
experiment = hansa.Experiment(model, hansa.FedAvg(Echo(), rounds=ROUNDS), seed=1, name="large")
