"""What a small device takes part in: a perceptron in NumPy on examples of the size of MNIST's, evaluated in every round.

The works refuse to run beside what a light client does without.
"""

import sys
from dataclasses import dataclass

import hansa
from hansa.core.work import Work

HEAVY = {
    "asyncio",
    "cryptography",
    "google",
    "grpc",
    "jax",
    "matplotlib",
    "scipy",
    "sklearn",
    "tensorflow",
    "torch",
    "typer",
}


@dataclass(frozen=True)
class Alone:
    """A work that finds nothing heavy loaded."""

    work: Work

    @property
    def buffers(self) -> frozenset[str]:
        return getattr(self.work, "buffers", frozenset())

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        if found := sorted(HEAVY & sys.modules.keys()):
            raise RuntimeError(f"loaded: {found}")
        return self.work(broadcast, context)


model = hansa.NumpyMLP((784, 100, 10))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=32, epochs=2)
algorithm = hansa.Evaluated(hansa.FedAvg(Alone(local), rounds=10), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=1, name="light")
