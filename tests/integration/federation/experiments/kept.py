"""FedAvg, evaluated, that keeps its best model and every second; works print."""

import sys
from dataclasses import dataclass

import hansa

model = hansa.NumpyMLP((5, 8, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)


@dataclass(frozen=True)
class Talking:
    """Local training that prints."""

    local: hansa.LocalTraining

    @property
    def buffers(self) -> frozenset[str]:
        """None."""
        return self.local.buffers

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        """Say who trains, and train."""
        sys.stdout.write(f"{context.id} trains in round {context.round}\n")
        return self.local(broadcast, context)


algorithm = hansa.Evaluated(hansa.FedAvg(Talking(local), rounds=6), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=1, name="kept", best="min loss", keep_every=2)
