"""MNIST and an MLP on a federation whose visits take a second, and ten on one device: synchronous, or by FedBuff."""

import time
from dataclasses import dataclass
from typing import Any

import hansa
from hansa.algorithms.fedbuff import FedBuff

BUFFERED = True

GOOD, SLOW = 0.95, "owner-3"


@dataclass(frozen=True)
class Paced:
    """A training after which a device sleeps until its visit has taken a second, or ten on the slow one."""

    local: hansa.LocalTraining

    @property
    def buffers(self) -> frozenset[str]:
        return self.local.buffers

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        began = time.monotonic()
        update = self.local(broadcast, context)
        time.sleep(max(0.0, began + (10.0 if context.id == SLOW else 1.0) - time.monotonic()))
        return update


model = hansa.NumpyMLP((28 * 28, 100, 10))
training = Paced(hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=32, steps=10))
evaluation = hansa.Evaluation(model, batch_size=2000)

server = hansa.SGD(1.5)
waiting = hansa.FedAvg(training, 100, server=server)
buffered = FedBuff(training, 400, goal=5, concurrency=10, server=server)
algorithm: Any = hansa.Evaluated(buffered, evaluation, every=2) if BUFFERED else hansa.Evaluated(waiting, evaluation)
experiment = hansa.Experiment(model, algorithm, stop=hansa.Reached("max accuracy", GOOD), name="paced")
