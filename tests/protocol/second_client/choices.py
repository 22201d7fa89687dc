"""The same random choices as Hansa's own clients make, as docs/protocol.md describes them."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """The generator of a key: a seed, and a path of names and numbers."""
    digest = hashlib.sha256()
    for step in (seed, *path):
        kind, data = ("s", step.encode()) if isinstance(step, str) else ("i", str(step).encode())
        digest.update(f"{kind}{len(data)}:".encode() + data)
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest.digest()[:16], "big")))
