"""Ten owners with unlike digits train one network. Run it with `python quickstart.py`, or with `hansa run quickstart.py`."""

from torch import nn

import hansa

digits = hansa.load_dataset("digits")
data = hansa.FederatedData.partition(digits.train, hansa.Dirichlet(clients=10, alpha=0.5), test=digits.test)


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


model = hansa.TorchModel(network, loss=nn.functional.cross_entropy)
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=32, epochs=1)
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=30), hansa.Evaluation(model), every=10)
experiment = hansa.Experiment(model, algorithm, seed=0, requirements=["torch>=2.4"])

if __name__ == "__main__":
    federation = hansa.Federation.simulate(data)
    print(federation.run(experiment).history.table())
