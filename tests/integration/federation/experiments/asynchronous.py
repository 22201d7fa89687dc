"""FedBuff, evaluated: a round is complete with two updates of three, and one client is slow."""

import time
from dataclasses import dataclass, replace

import hansa
from hansa.algorithms.fedbuff import FedBuff


@dataclass(frozen=True)
class Paced:
    """A training at which one client takes its time; its updates are too heavy for one who announced no examples."""

    local: hansa.LocalTraining
    slow: str
    seconds: float

    @property
    def buffers(self) -> frozenset[str]:
        return self.local.buffers

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        if context.id == self.slow:
            time.sleep(self.seconds)
        return replace(self.local(broadcast, context), weight=2000.0)


model = hansa.NumpyMLP((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
algorithm = FedBuff(Paced(local, "alice", 0.2), rounds=12, goal=2, concurrency=3)
experiment = hansa.Experiment(model, hansa.Evaluated(algorithm, hansa.Evaluation(model), every=4), seed=1)
