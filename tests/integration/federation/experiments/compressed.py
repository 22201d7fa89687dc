"""FedAvg whose updates travel sparsified and quantised, what was lost kept by the clients; evaluated, each owner's own too."""

import hansa
from hansa.algorithms.compressed import Compressed
from hansa.transforms import Quantised, Sparsified

model = hansa.NumpyMLP((5, 32, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, epochs=1)
averaging = Compressed(hansa.FedAvg(local, rounds=3), [Sparsified(0.2), Quantised(8)], feedback=True)
algorithm = hansa.Evaluated(averaging, hansa.Evaluation(model), owners=True)
experiment = hansa.Experiment(model, algorithm, seed=5, name="compressed")
