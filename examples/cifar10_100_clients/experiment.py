"""CIFAR-10 dealt out to a hundred clients, of whom fifteen at a time train a small convolution network."""

from statistics import median

from torch import nn

import hansa

ROUNDS, EVERY = 80, 10
CLIENTS, COHORT, BATCH = 100, 15, 50
ALPHA = 0.0  # 0 deals the pictures out evenly; otherwise each client's share of a class is drawn from Dirichlet(ALPHA)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 6 * 6, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def data() -> hansa.FederatedData:
    """A hundred clients, and an evaluator with the whole test set; normalised here once, and not in every batch again."""
    cifar10 = hansa.load_dataset("cifar10")
    train, test = (hansa.ClientDataset(examples.all()) for examples in (cifar10.train, cifar10.test))
    dealing = hansa.Dirichlet(CLIENTS, ALPHA, min_examples=10) if ALPHA else hansa.IID(CLIENTS)
    return hansa.FederatedData.partition(train, dealing, test=test)


model = hansa.TorchModel(network, loss=nn.functional.cross_entropy)
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=BATCH, epochs=1, schedule=hansa.ExponentialDecay(0.99))
averaging = hansa.FedAvg(local, ROUNDS, hansa.UniformSampler(COHORT))
algorithm = hansa.Evaluated(averaging, hansa.Evaluation(model), every=EVERY)
experiment = hansa.Experiment(model, algorithm, name="cifar10-100-clients", requirements=("torch>=2.4",))

if __name__ == "__main__":
    history = hansa.Federation.simulate(data(), mode="fast").run(experiment).history
    seconds = [entry.seconds for entry in history.entries if entry.work == "train"]
    print(history.table())
    print(f"training took {sum(seconds):.1f} s, the first round {seconds[0]:.1f} s;", end=" ")
    print(f"{1 / median(seconds):.2f} rounds a second")
