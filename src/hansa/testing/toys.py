"""Small federations to test with: separable classes, skewed over the clients."""

from __future__ import annotations

import numpy as np

from hansa.core.keys import key
from hansa.data import ClientDataset, FederatedData


def blobs(
    clients: int = 4, *, examples: int = 24, features: int = 5, classes: int = 3, seed: int = 0, spread: float = 1.0
) -> FederatedData:
    """A toy federation: one Gaussian cloud a class; each client has mostly its own class, and some of the others.

    Args:
        clients: how many; they are called "0", "1", ...
        examples: of the first client; each further one has 3 more. Everyone holds out 12 more in the split "test".
        features: numbers an example; field "x", float32, shape (features,).
        classes: how many; field "y", int64.
        seed: the same seed gives the same data.
        spread: the standard deviation of each cloud; the centres are 2 apart or so.
    """
    centres = key(seed, "centres").generator().standard_normal((classes, features)) * 2

    def drawn(client: int, split: str, count: int) -> ClientDataset:
        generator = key(seed, split, client).generator()
        y = np.where(generator.random(count) < 0.6, client % classes, generator.integers(classes, size=count))
        x = centres[y] + spread * generator.standard_normal((count, features))
        return ClientDataset({"x": x.astype(np.float32), "y": y.astype(np.int64)})

    return FederatedData(
        {str(client): drawn(client, "train", examples + 3 * client) for client in range(clients)},
        {str(client): drawn(client, "test", 12) for client in range(clients)},
    )
