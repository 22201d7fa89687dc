"""Made-up examples with the shapes, dtypes and classes of a schema: to try a pipeline on before it goes to real owners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hansa.core.keys import Key, key
from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.data.federated import FederatedData
from hansa.data.schema import Field, Schema
from hansa.errors import ConfigError


def dummy_data(
    schema: Schema, clients: Mapping[ClientId, Mapping[str, int]], n: int = 32, seed: int = 0
) -> FederatedData:
    """Data of clients that look like others, with no value of theirs.

    Args:
        schema: what an example looks like.
        clients: for each client, the splits that it holds.
        n: examples a split, at least 1.
        seed: other seeds draw other values.

    Returns:
        Labels are every class in turn; other numbers lie in the range that their field declares, or else in [0, 1) where
        they are floating, and in [0, 100) where they are whole.
    """
    if n < 1:
        raise ConfigError(f"dummy data have 1 or more examples, not {n}")
    made: dict[str, dict[ClientId, ClientDataset]] = {"train": {}, "test": {}}
    for client, held in clients.items():
        for split in held:
            chosen = key(seed, "dummy", client, split)
            fields = {name: values(field, n, chosen.child(name)) for name, field in schema.items()}
            made.setdefault(split, {})[client] = ClientDataset(fields)
    return FederatedData(made["train"], made["test"])


def values(field: Field, n: int, chosen: Key) -> np.ndarray[Any, Any]:
    """`n` made-up values of a field, shape (n, *field.shape)."""
    generator, shape = chosen.generator(), (n, *field.shape)
    low, high = (0.0, 1.0) if field.range is None else field.range
    if field.classes is not None:
        turns = np.arange(np.prod(shape, dtype=int)) % field.classes
        return generator.permutation(turns).reshape(shape).astype(field.dtype)
    dtype = np.dtype(field.dtype) if not field.dtype.startswith(("str", "bytes")) else np.dtype("U8")
    match dtype.kind:
        case "b":
            return generator.integers(0, 2, shape).astype(bool)
        case "i" | "u":
            first, last = (0, 100) if field.range is None else (int(low), int(high) + 1)
            return generator.integers(first, last, shape).astype(dtype)
        case "U" | "S":
            letters = generator.integers(97, 123, (*shape, 8), dtype=np.uint32)
            return letters.view("U8").reshape(shape)
    drawn: np.ndarray[Any, Any] = (low + (high - low) * generator.random(shape)).astype(dtype)
    return drawn
