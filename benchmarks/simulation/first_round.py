"""`python -m benchmarks.simulation.first_round FRAMEWORK`: a round of a tiny model, a script as short as a user's."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import hansa

FRAMEWORK = sys.argv[1] if len(sys.argv) > 1 else "numpy"


def with_torch() -> Any:
    import torch

    return hansa.TorchModel(lambda: torch.nn.Linear(4, 2), torch.nn.functional.cross_entropy)


def with_jax() -> Any:
    import jax.numpy as jnp

    from benchmarks.simulation.given.networks_jax import losses

    return hansa.JaxModel(lambda _key: {"w": jnp.zeros((4, 2))}, lambda params, x: x @ params["w"], losses)


def with_numpy() -> Any:
    return hansa.NumpyMLP((4, 8, 2))


model = {"torch": with_torch, "jax": with_jax, "numpy": with_numpy}[FRAMEWORK]()
experiment = hansa.Experiment(model, hansa.FedAvg(hansa.LocalTraining(model, hansa.SGD(0.1), epochs=1), rounds=1))

if __name__ == "__main__":
    random = np.random.default_rng(0)
    examples = {
        f"c{n}": hansa.ClientDataset({"x": random.random((20, 4), np.float32), "y": random.integers(0, 2, 20)})
        for n in range(4)
    }
    hansa.Federation.simulate(hansa.FederatedData(examples), mode="fast").run(experiment, callbacks=())
    print("finished", flush=True)
