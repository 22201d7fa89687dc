"""The workloads of the table: who trains what on how much, and the examples, made by seed.

Every contestant, ours and the others', reads the same bytes from the same files. This file must know nothing but NumPy: peers
run it with interpreters of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

Network = Literal["cnn", "mlp", "blitz", "cifar", "lstm"]
Array = np.ndarray[Any, Any]

SEED = 0
DOUBTFUL = 0.3
"""The share of pictures whose label says nothing of them, so that a loss neither stays where it is nor comes near zero."""
CLASSES = {"cnn": 62, "mlp": 62, "blitz": 10, "cifar": 10, "lstm": 90}
SHAPES = {"cnn": (1, 28, 28), "mlp": (784,), "blitz": (3, 32, 32), "cifar": (3, 32, 32), "lstm": (80,)}


@dataclass(frozen=True)
class Workload:
    """A row of the table: local training of one epoch.

    Attributes:
        name: of the row.
        network: what is trained; see `networks_torch`.
        clients: how many there are.
        cohort: how many train in a round.
        batch: examples a step.
        mean: examples a client.
        least: the fewest examples of a client; where it is the mean, all have as many.
        most: the most.
        spread: σ of the logarithm of their number.
        pool: different examples that there are; clients hold rows of them.
        rate: the learning rate.
        adam: whether the clients' optimiser is Adam; else it is plain SGD.
    """

    name: str
    network: Network
    clients: int
    cohort: int
    batch: int
    mean: int
    least: int
    most: int
    spread: float = 0.5
    pool: int = 60_000
    rate: float = 0.03
    adam: bool = False

    @cached_property
    def sizes(self) -> Array:
        """How many examples each client holds: int64 of shape (clients,), lognormal between `least` and `most`."""
        draws = np.exp(self.spread * np.random.default_rng([SEED, 1]).standard_normal(self.clients))
        scale = float(self.mean)
        for _ in range(50):  # clipping moves the mean: scale it back
            sizes: Array = np.clip(np.rint(draws * scale), self.least, self.most)
            scale *= self.mean / sizes.mean()
        whole: Array = sizes.astype(np.int64)
        return whole

    def rows(self, client: int) -> Array:
        """Which examples of the pool a client holds: int64 of shape (examples,)."""
        if self.clients * self.mean == self.pool:
            return np.arange(client * self.mean, (client + 1) * self.mean)
        generator = np.random.default_rng([SEED, 2, client])
        return generator.integers(0, self.pool, int(self.sizes[client]))

    def write(self, folder: Path) -> None:
        """Make the pool: x.npy and y.npy."""
        generator = np.random.default_rng([SEED, 3])
        classes, shape = CLASSES[self.network], SHAPES[self.network]
        if self.network == "lstm":
            text = generator.integers(0, classes, (self.pool, shape[0] + 1))
            text[:, 1::2] = text[:, :-1:2] * 7 % classes  # every other character follows from the one before
            np.save(folder / "x.npy", text[:, :-1].copy())
            np.save(folder / "y.npy", text[:, 1:].copy())
            return
        labels = generator.integers(0, classes, self.pool)
        random = generator.random(self.pool) < DOUBTFUL
        templates = generator.integers(0, 128, (classes, *shape), np.uint8)
        pictures = generator.integers(0, 128, (self.pool, *shape), np.uint8) + templates[labels]
        np.save(folder / "x.npy", pictures.astype(np.float32) / np.float32(255))
        np.save(folder / "y.npy", np.where(random, generator.integers(0, classes, self.pool), labels))


def pool(folder: Path) -> tuple[Array, Array]:
    """(x, y) as they were written; they stay in the file's pages, which all contestants share."""
    x, y = (np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in ("x", "y"))
    return x, y


def client_id(number: int) -> str:
    """The name of a client."""
    return f"c{number}"


_EMNIST: dict[str, Any] = {"clients": 3_400, "batch": 20, "mean": 200, "least": 20, "most": 400}
WORKLOADS = {
    each.name: each
    for each in (
        Workload("emnist-cnn", "cnn", cohort=10, rate=0.1, **_EMNIST),
        Workload("mlp-10", "mlp", cohort=10, **_EMNIST),
        Workload("mlp-100", "mlp", cohort=100, **_EMNIST),
        Workload("mlp-1000", "mlp", cohort=1_000, **_EMNIST),
        Workload("cifar10-10", "blitz", 10, 10, 32, 4_000, 4_000, 4_000, pool=40_000, rate=1e-3, adam=True),
        Workload("cifar10-100", "cifar", 100, 15, 50, 500, 500, 500, pool=50_000, rate=0.1),
        Workload("shakespeare", "lstm", 1_118, 10, 4, 32, 4, 200, spread=0.9, pool=20_000, rate=0.5),
    )
}


@dataclass(frozen=True)
class Plain:
    """A row of the table without learning: every client changes every number by one.

    Attributes:
        name: of the row.
        clients: how many there are; each holds one number, its own.
        cohort: how many are asked in a round.
        floats: float32 of the model.
        leaves: in how many arrays.
    """

    name: str
    clients: int
    cohort: int
    floats: int
    leaves: int = 1

    def model(self) -> dict[str, Array]:
        """Zeros."""
        return {f"w{n}": np.zeros(self.floats // self.leaves, np.float32) for n in range(self.leaves)}


def own_number(client: int) -> dict[str, Array]:
    """What a client of a `Plain` holds."""
    return {"x": np.array([client], np.float32)}


PLAIN = {
    each.name: each
    for each in (
        Plain("overhead-1000", 1_000, 1_000, 10),
        Plain("overhead-10000000", 10_000_000, 1_000, 10),
        Plain("broadcast-0MB", 20, 20, 10),
        Plain("broadcast-20MB", 20, 20, 5_000_000, 5),
        Plain("broadcast-400MB", 20, 20, 100_000_000, 5),
    )
}
