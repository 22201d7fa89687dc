"""Leaves of other dtypes than float32: bfloat16 weights, an int64 counter, a scalar."""

from dataclasses import dataclass

import ml_dtypes
import numpy as np

import hansa

model = hansa.NumpyMLP((5, 3))


@dataclass(frozen=True)
class Nudge:
    """Moves everything a little, by the client's own data."""

    buffers: frozenset[str] = frozenset({"seen", "peak"})

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        """One step."""
        examples = context.data["train"]
        mean = np.asarray(examples["x"], np.float32).mean(axis=0)
        after = {
            "coarse": (broadcast["coarse"].astype(np.float32) + 0.1 * mean).astype(ml_dtypes.bfloat16),
            "fine": broadcast["fine"] + mean.astype(np.float64) / 3,
            "seen": broadcast["seen"] + len(examples),
            "peak": np.maximum(broadcast["peak"], np.float32(mean.max())),
        }
        return hansa.Update(hansa.tree.difference(after, broadcast), weight=len(examples))


initial = {
    "coarse": np.linspace(-1, 1, 5).astype(ml_dtypes.bfloat16),
    "fine": np.linspace(-1, 1, 5),
    "seen": np.array([0, 7], np.int64),
    "peak": np.array(0, np.float32),
}
experiment = hansa.Experiment(model, hansa.FedAvg(Nudge(), rounds=3), seed=5, initial=initial, name="dtypes")
