"""What is the federation worth? One owner alone, for as many epochs, against all of them: `python alone.py`."""

import os
from dataclasses import replace

import shards  # type: ignore[import-not-found]  # a neighbour, found when this is run
from experiment import ROUNDS, data, experiment, local, model  # type: ignore[import-not-found]  # as above

import hansa

TEST = shards.Stored(os.environ["HANSA_DATA"], "test").pictures()


def accuracy(trained: hansa.Tree) -> float:
    """On the whole test set, which no owner has."""
    context = hansa.ClientContext("test set", {"test": TEST})
    return hansa.Evaluation(model)(trained, context).metrics.value("accuracy")


if __name__ == "__main__":
    owners = data()
    first = next(iter(owners))
    # A federation of one, in a single visit: there is nobody to average with, and the optimiser goes on from epoch to epoch.
    alone = replace(experiment, algorithm=hansa.FedAvg(replace(local, epochs=ROUNDS), rounds=1))
    print(f"{first} alone:  {accuracy(hansa.Federation.simulate({first: owners[first]}).run(alone).model()):.1%}")
    print(f"the federation: {accuracy(hansa.Federation.simulate(owners).run(experiment).model()):.1%}")
