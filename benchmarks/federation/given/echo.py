"""A large model that every client returns as it came, with a number of its own in it: so a round is all framework."""

import zlib
from typing import Any

import numpy as np

import hansa
from hansa.core.keys import Key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update

SIZE, LEAVES, ROUNDS = 25_000_000, 4, 3


class Large:
    """A model of `SIZE` float32 in `LEAVES` leaves, and one more number, that computes nothing."""

    buffers = frozenset[str]()

    def init(self, _key: Key) -> Tree:
        generator = np.random.default_rng(1)
        leaves = {f"w{n}": generator.random(SIZE // LEAVES, np.float32) for n in range(LEAVES)}
        return {**leaves, "own": np.zeros(1, np.float32)}


class Echo:
    """Gives back what it got, and a number that is the client's."""

    buffers = frozenset[str]()

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        own = zlib.crc32(f"{context.id}, {context.round}".encode()) / 2**32
        return Update({**broadcast, "own": np.full(1, own, np.float32)})


model: Any = Large()  # of a Model it is only what this takes
experiment = hansa.Experiment(model, hansa.FedAvg(Echo(), rounds=ROUNDS), seed=1, name="echo")
