"""FedAvg of a Flax module with BatchNorm and dropout."""

from typing import Any

import optax
from flax import nnx

import hansa


class Network(nnx.Module):
    """A layer, its statistics, and another."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.below, self.norm = nnx.Linear(5, 16, rngs=rngs), nnx.BatchNorm(16, rngs=rngs)
        self.dropout, self.above = nnx.Dropout(0.2, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        """Scores of three classes."""
        return self.above(self.dropout(nnx.relu(self.norm(self.below(x)))))


model = hansa.FlaxModel(Network, optax.softmax_cross_entropy_with_integer_labels)
local = hansa.LocalTraining(model, hansa.SGD(0.1, momentum=0.9), batch_size=8, steps=5, optimizer_state="keep")
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=2), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=1, name="flax", requirements=("flax", "optax"))
