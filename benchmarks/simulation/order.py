"""In which order a client's examples come, as Hansa's own `ClientDataset.orders` has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.simulation.workloads import SEED, client_id
from hansa.core.work import visit_key


def order(client: int, round_: int, examples: int) -> np.ndarray[Any, Any]:
    """One epoch's permutation: int64 of shape (examples,)."""
    key = visit_key(SEED, client_id(client), round_, "train", 0).child("shuffle", "epoch", 0)
    return key.generator().permutation(examples)
