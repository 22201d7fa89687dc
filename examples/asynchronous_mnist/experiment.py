"""MNIST over a hundred devices, of which one in ten is ten times slower: FedBuff waits for none of them.

HANSA_DATA=... python experiment.py            both ways, by a virtual clock; the picture is written beside this file
hansa run experiment.py                        FedBuff alone, without a clock
"""

from pathlib import Path

import numpy as np

import hansa

CLIENTS, GOOD = 100, 0.95
GOAL, CONCURRENCY = 5, 10


def data(seed: int = 0) -> hansa.FederatedData:
    """A hundred clients whose shares of each digit are drawn from Dirichlet(0.5), and an evaluator with the test set."""
    mnist = hansa.load_dataset("mnist")
    train, test = (hansa.ClientDataset(examples.all()) for examples in (mnist.train, mnist.test))
    return hansa.FederatedData.partition(train, hansa.Dirichlet(CLIENTS, 0.5, min_examples=10), seed=seed, test=test)


def devices(seed: int = 0, sigma: float = 1.0, slow: int = CLIENTS // 10) -> hansa.VirtualClock:
    """Seconds of a visit: log-normal with a median of 1, ten times as long on so many devices. The evaluator takes no time."""
    generator = hansa.key(seed, "devices").generator()
    seconds = np.exp(sigma * generator.standard_normal(CLIENTS))
    seconds[generator.choice(CLIENTS, slow, replace=False)] *= 10
    return hansa.VirtualClock(dict(zip(map(str, range(CLIENTS)), seconds.tolist(), strict=True)), instant=("central",))


model = hansa.NumpyMLP((28 * 28, 100, 10))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=32, steps=10)
evaluation = hansa.Evaluation(model, batch_size=2000)
enough = hansa.Reached("max accuracy", GOOD)

buffered = hansa.FedBuff(local, 400, goal=GOAL, concurrency=CONCURRENCY, server=hansa.SGD(2.0))
synchronous = hansa.FedAvg(local, 200, hansa.UniformSampler(CONCURRENCY), server=hansa.SGD(2.0))

experiment = hansa.Experiment(model, hansa.Evaluated(buffered, evaluation, every=2), stop=enough, name="fedbuff")
waiting = hansa.Experiment(model, hansa.Evaluated(synchronous, evaluation), stop=enough, name="fedavg")

if __name__ == "__main__":
    federation = hansa.Federation.simulate(data(), clock=devices())
    histories = {each.name: federation.run(each).history for each in (waiting, experiment)}
    for name, history in histories.items():
        seconds = history.reached("max accuracy", GOOD, "seconds")
        print(f"{name}: {GOOD:.0%} after {seconds:.0f} virtual seconds, {history.rounds} rounds")
    hansa.compare(histories, "accuracy", goal=GOOD).savefig(Path(__file__).with_name("comparison.svg"))
