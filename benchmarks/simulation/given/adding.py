"""No learning: every client changes every number of the model by one; what stands below is the table's row."""

from typing import Any

import numpy as np

import hansa
from hansa.core.keys import Key
from hansa.core.tree import Tree

LEAVES, FLOATS, COHORT, ROUNDS, SEED = 1, 10, 1_000, 5, 0


class Zeros:
    """Of a Model only what this takes: the parameters."""

    buffers = frozenset[str]()

    def init(self, _key: Key) -> Tree:
        return {f"w{n}": np.zeros(FLOATS // LEAVES, np.float32) for n in range(LEAVES)}


class AddOne:
    """A client's work."""

    buffers = frozenset[str]()

    def __call__(self, broadcast: Tree, _context: hansa.ClientContext) -> hansa.Update:
        return hansa.Update({name: np.ones_like(leaf) for name, leaf in broadcast.items()})


model: Any = Zeros()
algorithm = hansa.FedAvg(AddOne(), rounds=ROUNDS, sampler=hansa.UniformSampler(COHORT))
experiment = hansa.Experiment(model, algorithm, seed=SEED)
